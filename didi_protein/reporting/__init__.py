"""`report`: the page, its tables, plots, designs and structures."""
