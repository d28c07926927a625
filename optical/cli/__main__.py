"""``python -m optical.cli``, as ``accelerate launch -m`` starts it."""

from optical.cli import main

if __name__ == "__main__":
    main()
