#!/bin/sh
# What "make demo" shows: a text, a model that learns it for two minutes, what it writes, and how good it is.
#
#     sh demo.sh .venv/bin/charrnn
set -eu
charrnn=$1
run=checkpoints/demo-$(date +%Y%m%d-%H%M%S)

tell() { printf '\n%s\n' "$@"; }
show() { printf '$ %s\n' "$*"; "$@"; }

tell "1. A text to learn from: Shakespeare, where it can be downloaded within five seconds."
if show "$charrnn" corpus shakespeare --timeout 5 2> /dev/null; then
    text=corpora/shakespeare.txt prompt=ROMEO:
else
    tell "   It cannot be had now. English prose needs no network: the Python packages installed here
   explain themselves in it. To gather it takes ten seconds or more."
    show "$charrnn" corpus english
    text=corpora/english.txt prompt=This
fi

tell "2. Two minutes of training: the model learns which character comes next. The last tenth of the text
   is held out. The model never learns from it, so the loss on it tells how well it does on new text."
show "$charrnn" train "$text" --minutes 2 --name "${run#*/}"

tell "3. New text by the model, one character after the other, beginning with a prompt. A temperature
   below 1 makes likely characters likelier; another seed gives another text."
show "$charrnn" sample "$run" --prompt "$prompt" --length 600 --temperature 0.7 --seed 1

# As train counts it: the text is ASCII, so its bytes are its characters.
held_out=$((($(wc -c < "$text") + 9) / 10))
tell "" "4. The score: the loss on the held-out tenth once more, now read as one stream and not in parts side by
   side. It is the held-out loss of the summary above, to three decimals or more."
echo "\$ tail -c $held_out $text | $charrnn perplexity $run -"
tail -c "$held_out" "$text" | "$charrnn" perplexity "$run" -

tell "What to try next:"
cat << END
  $charrnn sample $run --temperature 1     # wilder
  $charrnn train $text --minutes 15        # a better model of this text
  $charrnn train YOUR-TEXT.txt             # a model of yours: any text file
END
