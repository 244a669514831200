"""Questions asked together go out together, and one caller who leaves disturbs no other."""

import asyncio

import pytest

from workbench.resilience.stores.pipelining import Pipeliner


class Echo:
    """Answers with the question itself; holds a batch back until ``free`` is set."""

    def __init__(self):
        self.batches = []
        self.free = asyncio.Event()
        self.free.set()
        self.sent = asyncio.Event()

    async def send(self, questions):
        self.batches.append(questions)
        self.sent.set()
        await self.free.wait()
        if "bad" in questions:
            raise ValueError("bad")
        return questions


def run(scenario):
    async def whole():
        echo = Echo()
        await scenario(echo, Pipeliner(echo.send, failed=lambda error: f"lost: {type(error).__name__}", batch=4))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


def test_those_who_ask_at_one_time_share_batches_of_bounded_size():
    async def scenario(echo, pipeliner):
        assert await asyncio.gather(*(pipeliner.ask(number) for number in range(10))) == list(range(10))
        assert [len(batch) for batch in echo.batches] == [4, 4, 2]

    run(scenario)


def test_what_comes_while_a_batch_is_under_way_goes_with_the_next():
    async def scenario(echo, pipeliner):
        echo.free.clear()
        first = asyncio.create_task(pipeliner.ask(1))
        await echo.sent.wait()
        rest = [asyncio.create_task(pipeliner.ask(number)) for number in (2, 3)]
        await asyncio.sleep(0)
        echo.free.set()
        assert await asyncio.gather(first, *rest) == [1, 2, 3]
        assert echo.batches == [[1], [2, 3]]

    run(scenario)


def test_who_is_cancelled_before_it_goes_out_takes_the_question_back():
    async def scenario(echo, pipeliner):
        tasks = [asyncio.create_task(pipeliner.ask(number)) for number in range(4)]
        await asyncio.sleep(0)  # they have asked; nothing was sent
        tasks[1].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [answers[0], *answers[2:]] == [0, 2, 3]
        assert isinstance(answers[1], asyncio.CancelledError)
        assert echo.batches == [[0, 2, 3]]

    run(scenario)


def test_who_is_cancelled_after_it_went_out_disturbs_no_other():
    async def scenario(echo, pipeliner):
        echo.free.clear()
        tasks = [asyncio.create_task(pipeliner.ask(number)) for number in range(3)]
        await echo.sent.wait()
        tasks[0].cancel()
        await asyncio.sleep(0)
        echo.free.set()
        assert (await asyncio.gather(*tasks, return_exceptions=True))[1:] == [1, 2]

    run(scenario)


def test_a_batch_that_fails_is_answered_so_and_the_next_goes_out():
    async def scenario(echo, pipeliner):
        asked = ["bad", 1, 2, 3, 4]
        answers = await asyncio.gather(*(pipeliner.ask(question) for question in asked))
        assert answers == ["lost: ValueError"] * 4 + [4]

    run(scenario)


def test_to_drain_is_to_wait_until_all_is_answered():
    async def scenario(echo, pipeliner):
        tasks = [asyncio.create_task(pipeliner.ask(number)) for number in range(9)]
        await asyncio.sleep(0)
        await pipeliner.drain()
        await asyncio.sleep(0)
        assert [task.done() and task.result() for task in tasks] == list(range(9))
        await pipeliner.drain()

    run(scenario)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_nobody_is_left_waiting_when_the_sending_is_cancelled(steps):
    async def scenario(echo, pipeliner):
        echo.free.clear()
        tasks = [asyncio.create_task(pipeliner.ask(number)) for number in range(6)]
        await asyncio.sleep(0)
        (sending,) = asyncio.all_tasks() - {asyncio.current_task(), *tasks}
        for _ in range(steps):
            await asyncio.sleep(0)
        sending.cancel()
        assert await asyncio.gather(*tasks) == ["lost: CancelledError"] * 6
        echo.free.set()
        assert await pipeliner.ask("later") == "later"

    run(scenario)
