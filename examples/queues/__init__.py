"""Jobs in Celery, taskiq and arq, and processes without a queue."""
