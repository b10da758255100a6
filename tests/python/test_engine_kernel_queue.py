"""Which kernels an engine compiles, which it asks others for, and what it does with what becomes of them."""

from __future__ import annotations

import pytest

from fxfarm._torch.kernel_queue import KernelQueue


def queue_of(kernels: str, *, threads: int, elsewhere: int) -> tuple[KernelQueue, str, str]:
    """The queue, what it has begun here, and what it has asked for, one letter a kernel."""
    queue = KernelQueue(threads, elsewhere)
    for kernel in kernels:
        queue.add(kernel)
    return queue, here(queue), asked(queue)


def here(queue: KernelQueue) -> str:
    return "".join(iter(queue.next_here, None))


def asked(queue: KernelQueue) -> str:
    return "".join(iter(queue.next_elsewhere, None))


@pytest.mark.parametrize(
    ("kernels", "threads", "elsewhere", "begun", "sent"),
    [
        ("", 1, 8, "", ""),
        ("a", 1, 8, "a", ""),
        ("ab", 1, 8, "a", "b"),
        ("ab", 2, 8, "ab", ""),
        ("abcd", 2, 8, "ab", "dc"),
        ("abcdef", 1, 2, "a", "fe"),
        ("abcdef", 1, 0, "a", ""),
    ],
)
def test_threads_take_from_the_front_and_others_are_asked_from_the_back(
    kernels: str, threads: int, elsewhere: int, begun: str, sent: str
) -> None:
    assert queue_of(kernels, threads=threads, elsewhere=elsewhere)[1:] == (begun, sent)


def test_a_thread_that_is_idle_is_counted_before_anybody_is_asked() -> None:
    queue = KernelQueue(2, 8)
    for kernel in "abc":
        queue.add(kernel)
    assert asked(queue) == "c"


def test_one_that_comes_makes_room_for_the_next() -> None:
    queue, _, sent = queue_of("abcde", threads=1, elsewhere=2)
    assert sent == "ed"
    assert queue.came("e")
    queue.made_elsewhere("e")
    assert asked(queue) == "c"
    assert (queue.here, queue.elsewhere, queue.under_way) == (0, 1, 2)


def test_what_is_awaited_is_compiled_here_once_nothing_else_waits_the_oldest_first() -> None:
    queue, _, sent = queue_of("abcd", threads=1, elsewhere=8)
    assert sent == "dcb"
    for kernel, following in ("ad", "dc", "cb"):
        queue.made_here(kernel)
        assert here(queue) == following
    queue.made_here("b")
    assert here(queue) == ""
    assert (queue.here, queue.elsewhere) == (4, 0)
    assert queue.under_way == 3, "the answers may still come"
    assert not queue.came("d")
    assert queue.under_way == 2


def test_one_that_comes_while_it_is_compiled_here_counts_as_made_elsewhere() -> None:
    queue, _, _ = queue_of("ab", threads=1, elsewhere=8)
    queue.made_here("a")
    assert here(queue) == "b"
    assert queue.came("b")
    queue.stopped_here("b")
    queue.made_elsewhere("b")
    assert (queue.here, queue.elsewhere, here(queue)) == (1, 1, "")


def test_one_that_was_compiled_here_while_its_library_was_looked_at_counts_once() -> None:
    queue, _, _ = queue_of("ab", threads=1, elsewhere=8)
    queue.made_here("a")
    assert here(queue) == "b"
    assert queue.came("b")
    queue.made_here("b")
    assert (queue.here, queue.elsewhere, queue.under_way) == (2, 0, 0)


def test_after_busy_nothing_is_asked_until_a_kernel_is_made_then_one_more_each_time() -> None:
    queue, _, sent = queue_of("abcdefgh", threads=1, elsewhere=4)
    assert sent == "hgfe"
    for kernel in "hgfe":
        queue.refused(kernel, busy=True)
    assert asked(queue) == ""
    queue.made_here("a")
    assert here(queue) == "b"
    assert asked(queue) == "e"
    assert queue.came("e")
    queue.made_elsewhere("e")
    assert asked(queue) == "fg", "one for the room that it had, one for having come"
    queue.refused("g", busy=True)
    assert asked(queue) == ""


def test_what_nobody_is_free_for_stays_where_it_was_in_the_list() -> None:
    queue, _, sent = queue_of("abc", threads=1, elsewhere=1)
    assert sent == "c"
    queue.refused("c", busy=True)
    queue.made_here("a")
    assert here(queue) == "b"
    assert asked(queue) == "c"


def test_what_failed_elsewhere_is_next_here_and_not_asked_for_again() -> None:
    queue, _, sent = queue_of("abcd", threads=1, elsewhere=1)
    assert sent == "d"
    queue.refused("d", busy=False)
    assert asked(queue) == "c"
    queue.made_here("a")
    assert here(queue) == "d"


def test_a_library_that_cannot_be_used_is_compiled_here() -> None:
    queue, _, sent = queue_of("abc", threads=1, elsewhere=1)
    assert sent == "c"
    assert queue.came("c")
    queue.failed_elsewhere("c")
    queue.made_here("a")
    assert here(queue) == "c"


def test_a_library_that_cannot_be_used_changes_nothing_for_who_compiles_it_already() -> None:
    queue, _, _ = queue_of("ab", threads=1, elsewhere=1)
    queue.made_here("a")
    assert here(queue) == "b"
    assert queue.came("b")
    queue.failed_elsewhere("b")
    queue.made_here("b")
    assert (queue.here, here(queue)) == (2, "")


@pytest.mark.parametrize("kernel", ["a", "z"])
def test_answers_that_nobody_asked_for_change_nothing(kernel: str) -> None:
    queue, _, _ = queue_of("ab", threads=1, elsewhere=1)
    assert not queue.came(kernel)
    queue.refused(kernel, busy=True)
    queue.refused(kernel, busy=False)
    queue.made_here("a")
    assert here(queue) == "b"
    queue.made_here("b")
    assert (queue.here, here(queue), asked(queue)) == (2, "", "")


def test_when_nothing_more_comes_all_is_compiled_here() -> None:
    queue, _, sent = queue_of("abc", threads=1, elsewhere=2)
    assert sent == "cb"
    queue.nothing_comes()
    assert (queue.under_way, asked(queue)) == (0, "")
    for kernel, following in ("ac", "cb"):
        queue.made_here(kernel)
        assert here(queue) == following


def test_one_that_cannot_be_compiled_is_done_with_wherever_it_was_asked_for() -> None:
    queue, _, sent = queue_of("ab", threads=1, elsewhere=1)
    assert sent == "b"
    queue.made_here("a")
    assert here(queue) == "b"
    queue.failed_here("b")
    assert queue.made("b")
    assert here(queue) == ""
    assert not queue.came("b")
    assert queue.here == 1
