"""Between the event loop and the threads and coroutines that call user code."""
