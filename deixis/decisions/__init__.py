"""What people say of labels: a log of decisions while they review, and the table that training reads."""
