#!/bin/sh
# What "make demo" shows: a text, a model that learns it for two minutes, what it writes, and how good it is.
#
#     sh demo.sh .venv/bin/charrnn
set -eu
charrnn=$1
name=demo-$(date +%Y%m%d-%H%M%S)

tell() { printf '\n%s\n' "$1"; }
show() { printf '$ %s\n' "$*"; "$@"; }

tell "1. A text to learn from: Shakespeare, if it comes within five seconds."
if show "$charrnn" corpus shakespeare --timeout 5 2> /dev/null; then
    text=corpora/shakespeare.txt prompt=ROMEO:
else
    tell "   It does not come. English prose needs no network: it is gathered from
   the documentation of the Python packages on this machine, which takes
   ten seconds or more."
    show "$charrnn" corpus english
    text=corpora/english.txt prompt=The
fi

tell "2. Two minutes of training: the model learns which character comes next.
   The last tenth of the text is held out. The model never learns from it,
   so the loss on it tells how well the model does on new text."
show "$charrnn" train "$text" --minutes 2 --name "$name"

tell "3. New text by the model: it goes on from a prompt, character by character.
   A low temperature makes it choose likely characters, a high one dare more;
   another seed gives another text."
show "$charrnn" sample "$name" --prompt "$prompt" --length 600 --temperature 0.5 --seed 1
[ -t 1 ] || echo # a sample ends where it ends; on a terminal its line is ended already

# As train counts it: the text is ASCII, so its bytes are its characters.
held_out=$((($(wc -c < "$text") + 9) / 10))
tell "4. The score: the held-out tenth once more, read exactly, which takes some
   seconds. It is the held-out loss of the summary above, to three decimals."
echo "\$ tail -c $held_out $text | $charrnn perplexity $name -"
tail -c "$held_out" "$text" | "$charrnn" perplexity "$name" -

tell "What to try next:

   text that dares more
     $charrnn sample $name --temperature 1
   a better model of this text
     $charrnn train $text --minutes 15
   a model of a text of your own
     $charrnn train YOUR-TEXT.txt"
