"""Whether a loop of asyncio runs in this thread is known without an import of asyncio."""

import asyncio
import threading

from otelflow._core.process.asyncio_loop import running_loop
from support.programs import python


def test_the_loop_that_runs_in_this_thread_and_in_no_other():
    async def look():
        others = []
        thread = threading.Thread(target=lambda: others.append(running_loop()))
        thread.start()
        thread.join(10)
        return running_loop() is asyncio.get_running_loop(), others

    assert asyncio.run(look()) == (True, [None])
    assert running_loop() is None


def test_a_program_without_asyncio_has_no_loop_and_does_not_get_asyncio():
    done = python(
        """
        import sys
        from otelflow._core.process.asyncio_loop import running_loop

        print(running_loop(), "asyncio" in sys.modules)
        """
    )

    assert (done.stdout, done.stderr) == ("None False\n", "")
