"""What training and labelling read, batch by batch: feature stores, phrases, images, candidates."""
