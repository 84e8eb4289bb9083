"""Resources that only describe: experiments, lineage, model cards, algorithms."""
