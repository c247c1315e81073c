"""`generate` with proteins: lengths, templates, residue biases, designs."""
