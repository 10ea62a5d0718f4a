"""Detectors, experts, text encoders, teachers, students and segmenters: one file per published method."""
