"""Several predictors mixed into one."""
