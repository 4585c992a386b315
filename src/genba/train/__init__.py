"""Training: recipes, mesh, loader, optimizer, checkpoint, the loop on one page, the dry-run."""
