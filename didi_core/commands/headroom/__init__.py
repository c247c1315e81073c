"""`headroom` of both programs: how few calls a masked model bears, without sampling."""
