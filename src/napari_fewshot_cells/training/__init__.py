"""Headless meta-training: the source sets, tasks, Reptile and transfer learning."""
