"""Meta-World: fifty table-top tasks of a Sawyer arm, an outside benchmark."""
