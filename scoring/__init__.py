"""From consented behaviour to an explained, replayable evaluation."""
