"""What the verbs of both programs share: a front-end says what its tokens mean, no more."""
