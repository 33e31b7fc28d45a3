"""What is held for a while: never more than its bytes, never past its time, the least recently used go first."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.held import SWEEP, Held

ROOM = 100
KEYS = st.sampled_from("abcdef")


class HeldMachine(RuleBasedStateMachine):
    """Against a list in order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.held: Held[int] = Held(ROOM, lambda: self.now)
        self.model: list[tuple[str, int, int, float]] = []  # key, value, size, expires; most recently used last
        self.count = 0

    @rule(key=KEYS, size=st.integers(0, ROOM + 5), lasts=st.integers(1, 200))
    def put(self, key: str, size: int, lasts: int) -> None:
        self.count += 1
        before = [entry for entry in self.model if entry[0] != key]
        self.held.put(key, self.count, size, self.now + lasts)
        there = dict(self.held.items())
        assert there.get(key) == (self.count if size <= ROOM else None)
        self.model = [entry for entry in before if entry[0] in there]
        gone = [entry for entry in before if entry not in self.model]
        early = [entry for entry in gone if entry[3] > self.now]
        if early:
            assert all(before.index(early[-1]) < before.index(entry) for entry in self.model), "the oldest go first"
            later = gone[gone.index(early[-1]) :]
            assert self.held.size + sum(entry[2] for entry in later) > ROOM, "nothing goes without need"
        if size <= ROOM:
            self.model.append((key, self.count, size, self.now + lasts))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        got = self.held.get(key)
        assert got is not None or all(entry[0] != key or entry[3] <= self.now for entry in self.model)
        known = [entry for entry in self.model if entry[0] == key]
        assert got is None or (got == known[0][1] and known[0][3] > self.now), "old, or past its time"
        if got is not None:
            self.model.remove(known[0])
            self.model.append(known[0])

    @rule(key=KEYS)
    def pop(self, key: str) -> None:
        self.held.pop(key)
        self.model = [entry for entry in self.model if entry[0] != key]
        assert self.held.get(key) is None

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def bounded(self) -> None:
        sizes = {entry[0]: entry[2] for entry in self.model}
        assert self.held.size == sum(sizes[key] for key, _ in self.held.items())
        assert self.held.size <= ROOM


TestHeld = HeldMachine.TestCase


def test_what_is_past_its_time_leaves_memory_when_something_new_comes() -> None:
    now = 0.0
    held: Held[str] = Held(ROOM, lambda: now)
    held.put("a", "a", 10, 5)
    now = SWEEP
    held.put("b", "b", 10, SWEEP + 5)
    assert [key for key, _ in held.items()] == ["b"]
    assert held.size == 10
    now = 3 * SWEEP
    held.sweep()
    assert held.size == 0
