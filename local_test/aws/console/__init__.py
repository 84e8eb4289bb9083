"""The console: web pages that show what the account holds."""
