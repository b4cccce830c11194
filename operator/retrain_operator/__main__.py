"""`python -m retrain_operator` is `retrain`."""

import sys

from retrain_operator.cli import main

sys.exit(main())
