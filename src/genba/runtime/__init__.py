"""What runs beside a machine: bundle, engine, executor with its deadline, the loop, the recorder."""
