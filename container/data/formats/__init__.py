"""Readers of labeled images, a module for each family of formats; `container.data.loading` chooses among them.

A reader cuts its files into tasks, which is cheap and done in order, and each task decodes a few
thousand records, which is costly and done by several threads at a time. So memory holds a few
tasks, however large the files are.
"""
