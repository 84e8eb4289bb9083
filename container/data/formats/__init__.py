"""Readers of labeled images, one module per family of formats; `container.data.loading` chooses.

A reader cuts its files into tasks, cheaply and in order. Each task decodes a few thousand records;
several threads run tasks at a time, so memory holds a few tasks, however large the files are.
"""
