"""Fine-tuning: a recipe, an augmentation, one visible loop, and what it leaves in TensorBoard."""
