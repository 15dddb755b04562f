"""The simulated shop of the part on recommenders: its tables, its log, its truth.

The files of ``data/shop`` are made by ``tools/make_shop.py``, which says how the
simulated users behave. DuckDB reads them; the extra ``recommenders`` installs it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import sparse

from lepton_utils.datasets import embedded_file

BOT_VIEWS = 100  # views in one clock hour; no human reaches it, see recommenders/01
MAX_SKEW = 60  # s that a client's clock may be off before it is corrected
EVENTS = ("view", "cart", "purchase")
COLUMNS = ["event_id", "user_id", "item_id", "event", "time", "session_id", "position"]


@dataclass(frozen=True)
class Truth:
    """What only a simulation knows.

    Attributes:
        user_factors: (users, 8) float32.
        item_factors: (items, 8) float32.
        item_bias: (items,) float32.
        offset: float32; these four are in logits.
        examination: (12,) float32, probability that a user looks at place 1, 2 ... of
            a list.
        clock_skew: (accounts,) int32, s by which the clock of each client was fast,
            bots' included.
    """

    user_factors: np.ndarray
    item_factors: np.ndarray
    item_bias: np.ndarray
    offset: np.ndarray
    examination: np.ndarray
    clock_skew: np.ndarray

    def affinity(self, users, items):
        """Probability that a user who looks at an item clicks it.

        Args:
            users: int array, or one number.
            items: int array, or one number; both are broadcast against each other, so
                ``affinity(users[:, None], items)`` is the table of all pairs.

        Returns:
            float64 array of the broadcast shape, in (0, 1).
        """
        u = np.asarray(self.user_factors, float)[users]
        v = np.asarray(self.item_factors, float)[items]
        logit = np.einsum("...d,...d->...", u, v) + self.offset + self.item_bias[items]
        return 1 / (1 + np.exp(-logit))


@dataclass(frozen=True)
class Shop:
    """The shop after cleaning; users and items are numbered from 0.

    Attributes:
        users: DataFrame of user_id, country, time_zone, signup_time (UTC).
        items: DataFrame of item_id, department, category, title_en, title_zh,
            price_usd, release_time (UTC), in_stock (bool, when the log ends).
        events: DataFrame of event_id, user_id, item_id, event ("view", "cart",
            "purchase"), time (UTC), session_id, position (1 ... 12 where the item was
            clicked in the list that opens a session, 0 where it was reached
            otherwise; carts and purchases carry the position of their view); in the
            order of time.
        lists: DataFrame, a row for each session: session_id, user_id, time (UTC),
            randomized (bool: random items in random order), item_1 ... item_12.
        truth: `Truth`.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    events: pd.DataFrame
    lists: pd.DataFrame
    truth: Truth


def load_shop():
    """Load the shop, its log cleaned by `clean_log`.

    Returns:
        `Shop`; the DataFrames are the caller's own, the truth is shared.
    """
    users, items, events, lists, truth = _load()
    return Shop(users.copy(), items.copy(), events.copy(), lists.copy(), truth)


@lru_cache(maxsize=1)
def _load():
    accounts, items, log = (read_table(name) for name in ("users", "items", "events"))
    events = clean_log(log, accounts, items)
    users = accounts[~accounts.user_id.isin(find_bots(log))]
    with embedded_file("shop/truth.npz").open("rb") as file, np.load(file) as arrays:
        truth = Truth(**arrays)
    return users, items, events, read_table("lists"), truth


def read_table(name):
    """Read a table as it was logged.

    Args:
        name: str, "users" (with the accounts of bots), "items", "events" (the raw
            log: received [UTC], event_id, session_id, user_id, item_id, event,
            position, client_time [the client's clock], utc_offset [minutes by which
            that clock is ahead of UTC; missing where an old client does not say]) or
            "lists".

    Returns:
        DataFrame in the order of the file.
    """
    import duckdb

    path = str(embedded_file(f"shop/{name}.parquet"))
    with duckdb.connect(config={"threads": 1}) as connection:
        return connection.read_parquet(path).df()


def clean_log(log, users, items):
    """Clean the raw log: each event once, by a person, of an item, at its time in UTC.

    Args:
        log: DataFrame, ``read_table("events")``.
        users: DataFrame with user_id and time_zone of every account.
        items: DataFrame with item_id.

    Returns:
        DataFrame of event_id, user_id, item_id, event, time (UTC), session_id,
        position, in the order of time and then of event_id.

    Taught in chapters/recommenders/01_behavior.
    """
    bots = find_bots(log)
    log = log.sort_values(["received", "event_id"], kind="stable")
    log = log.drop_duplicates("event_id")
    log = log[log.item_id.isin(items.item_id) & ~log.user_id.isin(bots)]
    log = log.assign(time=correct_clocks(log, to_utc(log, users)))
    log = log.sort_values(["time", "event_id"], ignore_index=True)
    return log[COLUMNS]


def find_bots(log):
    """Accounts with more than BOT_VIEWS distinct views in one clock hour of arrival."""
    views = log[log.event == "view"].drop_duplicates("event_id")
    counts = views.groupby(["user_id", views.received.dt.floor("h")]).size()
    return np.unique(counts[counts > BOT_VIEWS].index.get_level_values("user_id"))


def to_utc(log, users):
    """Turn client times into UTC: by the logged offset, else by the account's zone."""
    offset = pd.to_timedelta(log.utc_offset.astype("float64"), unit="m")
    time = log.client_time - offset
    zones = users.set_index("user_id").time_zone.reindex(log.user_id).to_numpy()
    silent = log.utc_offset.isna().to_numpy()
    for zone in pd.unique(zones[silent]):
        rows = silent & (zones == zone)
        local = log.client_time[rows].dt.tz_localize(zone)
        time[rows] = local.dt.tz_convert("UTC").dt.tz_localize(None)
    return time.astype("datetime64[us]")


def correct_clocks(log, time):
    """Move each account's times so that its quickest event took no time to arrive.

    Only where that is more than MAX_SKEW away from what the account's clock says.
    """
    delay = (log.received - time).groupby(log.user_id).transform("min")
    return time + delay.where(delay.abs() > pd.Timedelta(seconds=MAX_SKEW), 0 * delay)


def split_by_time(events, days=(45, 52)):
    """Cut the events at two moments: learn from the past, choose, then test.

    Args:
        events: DataFrame with time.
        days: two numbers, days after the first event, ascending.

    Returns:
        train, validation, test: DataFrames with the rows before the first moment,
        between the two, and from the second on.

    Raises:
        ValueError: if the days are not two ascending numbers, or a part is empty.

    Taught in chapters/recommenders/01_behavior.
    """
    if len(days) != 2 or not days[0] < days[1]:
        raise ValueError(f"days must be two ascending numbers, got {days!r}")
    day = (events.time - events.time.min()) / pd.Timedelta(days=1)
    parts = (day < days[0], (day >= days[0]) & (day < days[1]), day >= days[1])
    if not all(part.any() for part in parts):
        raise ValueError(
            f"days must leave events in all three parts, got {days!r} "
            f"for {day.max():.1f} days"
        )
    return tuple(events[part] for part in parts)


def interactions(events, num_users, num_items, weights=None):
    """Count events by user and item.

    Args:
        events: DataFrame with user_id, item_id and event.
        num_users: int, rows of the result.
        num_items: int, columns of the result.
        weights: dict, name of an event -> what one of them counts; an event that is
            not named counts 0. None: each event counts 1.

    Returns:
        scipy.sparse CSR matrix (num_users, num_items) float32, without stored zeros.

    Raises:
        ValueError: if an id does not fit, or a weight has an unknown name.

    Taught in chapters/recommenders/01_behavior.
    """
    for name, size in (("user_id", num_users), ("item_id", num_items)):
        ids = events[name]
        if len(ids) and not (ids.min() >= 0 and ids.max() < size):
            raise ValueError(
                f"events.{name} must be in 0 ... {size - 1}, "
                f"got {ids.min()} ... {ids.max()}"
            )
    if weights and (unknown := set(weights) - set(EVENTS)):
        raise ValueError(f"weights must name {EVENTS}, got {sorted(unknown)}")
    values = np.ones(len(events))
    if weights is not None:
        values = np.array([weights.get(name, 0) for name in events.event])
    cells = (events.user_id.to_numpy(), events.item_id.to_numpy())
    matrix = sparse.csr_matrix((values, cells), (num_users, num_items), np.float32)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
