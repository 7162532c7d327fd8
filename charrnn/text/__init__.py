"""Text to ids: vocabulary, corpus, windows."""
