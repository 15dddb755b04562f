"""Do in one piece what many requests want: group commit, and micro-batching.

Taught in chapters/workflow/05_deployment.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor


class Busy(RuntimeError):
    """The service has more to do than it takes on; answered with 503."""


class Batcher:
    """Collect what requests submit, and do it together in a thread of its own.

    While one batch is worked on, the next collects: the more comes, the larger the
    batches, and a lone request does not wait. For a database this is group commit (one
    fsync for many writes), for a model micro-batching (one product of matrices).
    Use it as ``async with Batcher(work) as batcher``; the end works off what waits.

    Args:
        work: list of submitted values -> list of results in the same order; a result
            that is an exception is raised for its value alone.
        max_batch: int >= 1, values in a batch.
        max_wait: float >= 0, seconds that the first value of a batch waits for others.
        max_queue: int >= 1, values that wait; more are refused with `Busy`.
        on_batch: (size,) -> None, called with the size of each batch.
    """

    def __init__(self, work, max_batch=256, max_wait=0, max_queue=1024, on_batch=None):
        self.work, self.max_batch, self.max_wait = work, max_batch, max_wait
        self.queue, self.on_batch = asyncio.Queue(max_queue), on_batch
        self.open, self.thread = False, ThreadPoolExecutor(1)

    async def __aenter__(self):
        self.open, self.task = True, asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *error):
        self.open = False
        await self.queue.put(None)
        await self.task
        self.thread.shutdown()

    async def submit(self, value):
        """Wait for the result of one value; it is worked on even if nobody waits.

        Raises:
            Busy: if too many values wait already, or the service ends.
        """
        if not self.open or self.queue.full():
            raise Busy(f"{self.queue.qsize()} requests wait already; try again later")
        future = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((value, future))
        return await future

    async def _run(self):
        loop, more = asyncio.get_running_loop(), True
        while more:
            batch, more = await self._collect()
            if not batch:
                continue
            values, futures = zip(*batch, strict=True)
            if self.on_batch:
                self.on_batch(len(values))
            try:
                results = await loop.run_in_executor(
                    self.thread, self.work, list(values)
                )
            except Exception as error:  # handed to everyone who waits for this batch
                results = [error] * len(values)
            for future, result in zip(futures, results, strict=True):
                settle(future, result)

    async def _collect(self):
        batch, end = [await self.queue.get()], time.monotonic() + self.max_wait
        while batch[-1] is not None and len(batch) < self.max_batch:
            left = end - time.monotonic()
            if self.queue.empty() and left <= 0:
                break
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    batch.append(await self.queue.get())
            except TimeoutError:
                break
        more = batch[-1] is not None
        return (batch if more else batch[:-1]), more


def settle(future, result):
    """Give a future its result, or its exception, unless nobody waits any more."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
