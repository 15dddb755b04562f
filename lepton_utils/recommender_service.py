"""A recommender as a service: events come in, recommendations follow at once.

`create_app` puts three things behind HTTP: the state of each user as decayed counts
(`Store`), the factors of the items (`Model`), and what `realtime` makes of both: the
user's vector by fold-in, the list by diverse re-ranking of what the user has not seen,
without what is sold out.

An event counts once, whenever and however often it comes: its id is the key of a table,
and late events enter the counts with the weight their time gives them. A client that
got no answer sends the event again. An answer means that the event is on disk: SQLite
writes ahead to its log and waits for the disk (``synchronous=FULL``), for all events
that arrived in the meantime together.

Writes and a user's history need a token; recommendations do not, so the service
belongs behind the shop's own server, which knows who is asking.

The extra ``recommenders`` of the package installs what this needs.

Taught in chapters/recommenders/05_realtime.
"""

import contextlib
import math
import sqlite3
import time
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Annotated, Literal

import numpy as np
from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from lepton_utils import realtime, service
from lepton_utils.arguments import check_number

WEIGHTS = {"view": 1.0, "cart": 3.0, "purchase": 5.0}  # when it happens; a judgment
TAU = 1800.0  # s, after which a weight has faded to 1/e
FADED = 1e-12  # a weight that says nothing any more
MAX_SKEW = 60  # s that a client's clock may be ahead of ours
COLUMNS = ("title_en", "title_zh", "category", "price_usd")
CANDIDATES = 100  # items with the largest scores, from which the list is chosen
TABLES = """
create table if not exists events (event_id text primary key, user_id int, item_id int,
    event text, time real) without rowid;
create table if not exists counts (user_id int, item_id int, value real, last real,
    bought int, primary key (user_id, item_id)) without rowid;
create table if not exists sold_out (item_id integer primary key);
create table if not exists settings (name text primary key, value real) without rowid;
"""

# ---- state


class Store:
    """The events and what follows from them, in an SQLite file.

    One thread writes, another may read: in write-ahead mode neither waits for the
    other. The counts are `realtime.decay_update`'s, kept in the transaction that keeps
    the event: no crash can part them, and a restart has nothing to recompute.

    Args:
        path: str or Path of the file; made if there is none.
        tau: number > 0, seconds after which a weight has faded to 1/e.

    Raises:
        ValueError: if the file was written with another tau: its counts hold it.
    """

    def __init__(self, path, tau=TAU):
        self.tau = check_number("tau", tau, 0, include=False)
        options = {"isolation_level": None, "check_same_thread": False, "timeout": 10}
        self.writer = sqlite3.connect(path, **options)
        self.writer.execute("pragma journal_mode=wal")
        self.writer.execute("pragma synchronous=full")
        self.writer.executescript(TABLES)
        kept = "insert or ignore into settings values ('tau', ?)"
        self.writer.execute(kept, (self.tau,))
        query = "select value from settings where name = 'tau'"
        (written,) = self.writer.execute(query).fetchone()
        if written != self.tau:
            self.writer.close()
            raise ValueError(f"tau is {tau}; this file was written with {written}")
        self.reader = sqlite3.connect(path, **options)
        self.reader.execute("pragma query_only=on")

    def close(self):
        """Close the file."""
        self.reader.close()
        self.writer.close()

    def write(self, changes):
        """Make changes in one transaction: all of them are on disk, or none.

        Args:
            changes: list of ("add", (event_id, user_id, item_id, event, time)) or
                ("set_stock", (item_id, in_stock)).

        Returns:
            list of what `add` and `set_stock` return.

        Raises:
            sqlite3.Error: if the disk is full, say; nothing has changed then.
        """
        self.writer.execute("begin immediate")
        try:
            results = [getattr(self, name)(*values) for name, values in changes]
            self.writer.execute("commit")
        except BaseException:
            self.writer.rollback()
            raise
        return results

    def add(self, event_id, user_id, item_id, event, time):
        """Count one event, inside of `write`.

        Returns:
            "stored"; "duplicate" where the same event is there already; "conflict"
            where another one with its id is: neither changes anything.
        """
        row = (event_id, user_id, item_id, event, float(time))
        done = self.writer.execute(
            "insert or ignore into events values (?, ?, ?, ?, ?)", row
        )
        if not done.rowcount:
            known = "select * from events where event_id = ?"
            same = self.writer.execute(known, row[:1]).fetchone() == row
            return "duplicate" if same else "conflict"
        known = "select value, last, bought from counts where user_id=? and item_id=?"
        *state, bought = self.writer.execute(known, row[1:3]).fetchone() or (
            0.0,
            -math.inf,
            0,
        )
        state = realtime.decay_update(*state, row[4], WEIGHTS[event], self.tau)
        bought = int(bought or event == "purchase")
        self.writer.execute(
            "insert or replace into counts values (?, ?, ?, ?, ?)",
            (user_id, item_id, *state, bought),
        )
        return "stored"

    def set_stock(self, item_id, in_stock):
        """Note whether an item can be sold, inside of `write`."""
        change = (
            "delete from sold_out where item_id = ?"
            if in_stock
            else "insert or ignore into sold_out values (?)"
        )
        self.writer.execute(change, (item_id,))

    def history(self, user_id):
        """Return what a user did: items, their weights, whether bought; each (n,).

        The weights are those at the time of the user's newest event.
        """
        query = "select item_id, value, last, bought from counts where user_id = ?"
        rows = np.array(self.reader.execute(query, (user_id,)).fetchall(), float)
        items, value, last, bought = rows.reshape(-1, 4).T
        weights = value * np.exp((last - last.max(initial=-np.inf)) / self.tau)
        return items.astype(int), weights, bought.astype(bool)

    def sold_out(self):
        """Return the items that cannot be sold, a list of int."""
        rows = self.reader.execute("select item_id from sold_out").fetchall()
        return [item for (item,) in rows]

    def count_events(self):
        """Return how many events are stored."""
        return self.reader.execute("select count(*) from events").fetchone()[0]


# ---- model


@dataclass(frozen=True)
class Model:
    """What the service knows about the items, from training.

    Attributes:
        item_factors: (num_items, d) float, of an implicit factorization.
        popularity: (num_items,) float; ranks items for users without a history.
        num_users: int, users are numbered below it.
        alpha: number > 0, the confidence of weight 1 is 1 + alpha.
        l2: number > 0; both as in the factorization.
        title_en, title_zh, category: (num_items,) str; empty: none.
        price_usd: (num_items,) float.
    """

    item_factors: np.ndarray
    popularity: np.ndarray
    num_users: int
    alpha: float
    l2: float
    title_en: np.ndarray = ()
    title_zh: np.ndarray = ()
    category: np.ndarray = ()
    price_usd: np.ndarray = ()

    def __post_init__(self):
        """Complete and check what was given.

        Raises:
            ValueError: naming the argument, what came and what was expected.
        """
        factors = np.asarray(self.item_factors, dtype=np.float64)
        if factors.ndim != 2 or not factors.size or not np.isfinite(factors).all():
            expected = "(num_items, d), finite numbers"
            raise ValueError(f"item_factors is {factors.shape}; expected {expected}")
        for name, kind in (
            ("popularity", float),
            ("title_en", str),
            ("title_zh", str),
            ("category", str),
            ("price_usd", float),
        ):
            column = np.asarray(getattr(self, name))
            if column.shape == (0,) and name != "popularity":
                column = np.zeros(len(factors))
                column = np.full(len(factors), "") if kind is str else column
            if column.shape != (len(factors),):
                expected = (len(factors),)
                raise ValueError(
                    f"{name} has shape {column.shape}; expected {expected}"
                )
            object.__setattr__(self, name, column.astype(kind))
        for name in ("num_users", "alpha", "l2"):
            check_number(name, np.asarray(getattr(self, name)).item(), 0, include=False)
            object.__setattr__(self, name, np.asarray(getattr(self, name)).item())
        object.__setattr__(self, "item_factors", factors)
        object.__setattr__(self, "gram", factors.T @ factors)

    def save(self, path):
        """Write a file that `load` reads: arrays only, no code."""
        np.savez(path, **asdict(self))

    @classmethod
    def load(cls, path):
        """Read a file of `save`; such a file cannot run code (no pickle)."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**arrays)

    def describe(self, item):
        """Return an item's number, titles, category and price as a dict."""
        titles = {"title_en": self.title_en[item], "title_zh": self.title_zh[item]}
        return {
            "item_id": int(item),
            **{name: str(title) for name, title in titles.items()},
            "category": str(self.category[item]),
            "price_usd": float(self.price_usd[item]),
        }

    def recommend(self, items, weights, blocked, k, diversity):
        """Choose k items for a history: new ones, as long as there are any.

        Items of the history fill up, best first, what the others leave empty.

        Args:
            items: distinct ints (n,).
            weights: floats (n,), >= 0.
            blocked: bool array (num_items,), True where never to be shown.
            k: int >= 1.
            diversity: number in 0..1, see `realtime.rerank`.

        Returns:
            items, scores: arrays, at most (k,), in the order to be shown.
        """
        seen = np.zeros(len(self.item_factors), bool)
        seen[items] = True
        kept = weights > FADED  # in the fold-in even weight 0 would count, with c = 1
        items, weights = items[kept], weights[kept]
        scores = self.popularity
        if len(items):
            confidence = 1 + self.alpha * weights
            fold = (self.item_factors, self.gram, items, confidence, self.l2)
            scores = self.item_factors @ realtime.fold_in(*fold)
        ranked = np.argsort(-scores, kind="stable")
        ranked = ranked[~blocked[ranked]]
        best = ranked[~seen[ranked]][: max(k, CANDIDATES)]
        order = realtime.rerank(scores[best], self.item_factors[best], k, diversity)
        again = ranked[seen[ranked]][: k - len(order)]
        chosen = np.concatenate([best[order], again])
        return chosen, scores[chosen]


def shop_model(days=52, num_factors=32, alpha=3.0, l2=30.0):
    """Fit a `Model` to the views of the first days of the book's shop.

    Returns:
        model: `Model`.
        changes: list for `Store.write`: those days' events, and what is sold out.
    """
    from lepton_utils import leptonml, shop

    data = shop.load_shop()
    first, *_ = shop.split_by_time(data.events, (days, days + 1))
    sizes = data.users.user_id.max() + 1, len(data.items)
    counts = shop.interactions(first, *sizes, {"view": 1})
    als = leptonml.ImplicitALS(num_factors, l2, alpha).fit(counts)
    columns = {c: data.items[c] for c in COLUMNS}
    popularity = np.asarray(counts.sum(axis=0)).ravel()
    model = Model(als.right_.T, popularity, int(sizes[0]), alpha, l2, **columns)
    seconds = first.time.astype("datetime64[us]").astype("int64") / 1e6
    rows = first[["event_id", "user_id", "item_id", "event"]].itertuples(index=False)
    changes = [
        ("add", (str(i), int(u), int(j), e, t))
        for (i, u, j, e), t in zip(rows, seconds, strict=True)
    ]
    sold_out = np.flatnonzero(~data.items.in_stock.to_numpy()).tolist()
    return model, changes + [("set_stock", (item, False)) for item in sold_out]


# ---- the application


class Event(BaseModel):
    """Something that a user did with an item."""

    model_config = ConfigDict(extra="forbid", strict=True)
    event_id: str = Field(
        pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="Chosen by the client, for good"
    )
    user_id: int = Field(ge=0)
    item_id: int = Field(ge=0)
    event: Literal["view", "cart", "purchase"]
    time: float = Field(
        ge=0, allow_inf_nan=False, description="Seconds since 1970-01-01, UTC"
    )


class Stock(BaseModel):
    """Whether an item can be sold."""

    model_config = ConfigDict(extra="forbid", strict=True)
    in_stock: bool


UserId = Annotated[int, Path(ge=0)]
ItemId = Annotated[int, Path(ge=0)]


def known(name, number, limit, status=404):
    """Refuse a number that no user or item has."""
    if number >= limit:
        came = service.short.repr(number)
        raise HTTPException(status, f"{name} is {came}; expected 0 <= {name} < {limit}")
    return number


def create_app(database, token, model, tau=TAU, **limits):
    """Return the application.

    Args:
        database: path of the SQLite file.
        token: str, 16 characters or more, that writes must bring.
        model: `Model`, or path of a file of `Model.save`.
        tau: number > 0, see `Store`.
        **limits: for `service.create_app`: max_body, body_seconds, rate.
    """
    model = model if isinstance(model, Model) else Model.load(model)
    num_items, state = len(model.item_factors), {}

    @contextlib.asynccontextmanager
    async def lifespan(app):
        metrics = app.state.metrics
        with contextlib.closing(Store(database, tau)) as store:
            count = lambda size: metrics.count("commits_total")  # noqa: E731
            async with service.Batcher(store.write, on_batch=count) as batcher:
                metrics.gauge("changes_waiting", batcher.queue.qsize)
                state.update(store=store, batcher=batcher)
                yield

    app = service.create_app(
        "Recommender",
        lifespan,
        check=lambda: {"events": state["store"].count_events()},
        **limits,
    )
    writes = [Depends(service.require_token(token))]
    html = resources.files("lepton_utils").joinpath("recommender_page.html")
    answer = service.page(html.read_text("utf8"))

    @app.exception_handler(sqlite3.Error)
    async def failed(request: Request, error: sqlite3.Error):
        return service.refusal(503, f"nothing was stored: {error}; send it again")

    @app.get("/", include_in_schema=False)
    async def show_page():
        return answer

    @app.post("/events", status_code=201, dependencies=writes)
    async def add_event(event: Event, response: Response) -> dict:
        """Count an event, once: sent again, it is answered with 200, not 201.

        What happened is not disputed: the shop decides whether an item can be bought,
        and its last piece may be reported after it has sold out.
        """
        known("user_id", event.user_id, model.num_users, 422)
        known("item_id", event.item_id, num_items, 422)
        if event.time > (now := time.time()) + MAX_SKEW:
            text = f"time is {event.time:.0f}; expected seconds <= {now:.0f}, now"
            raise HTTPException(422, text)
        result = await state["batcher"].submit(("add", tuple(dict(event).values())))
        app.state.metrics.count("events_total", event=event.event, result=result)
        if result == "conflict":
            text = f"event_id {event.event_id} came before with another content"
            raise HTTPException(409, text)
        response.status_code = 201 if result == "stored" else 200
        return {"event_id": event.event_id, "result": result}

    @app.put("/items/{item_id}/stock", dependencies=writes)
    async def set_stock(item_id: ItemId, stock: Stock) -> dict:
        """Say whether an item can be sold; what cannot is not recommended."""
        known("item_id", item_id, num_items)
        await state["batcher"].submit(("set_stock", (item_id, stock.in_stock)))
        return {"item_id": item_id, "in_stock": stock.in_stock}

    @app.get("/items")
    async def list_items(
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> dict:
        """List items, in the order of their numbers."""
        numbers, sold_out = range(num_items)[offset:][:limit], state["store"].sold_out()
        items = [model.describe(i) | {"in_stock": i not in sold_out} for i in numbers]
        return {"num_items": num_items, "num_users": model.num_users, "items": items}

    @app.get("/users/{user_id}/history", dependencies=writes)
    async def read_history(user_id: UserId) -> dict:
        """List what the service knows about a user, the weightiest first."""
        known("user_id", user_id, model.num_users)
        rows = zip(*state["store"].history(user_id), strict=True)
        rows = sorted(rows, key=lambda row: -row[1])[:50]
        items = [
            model.describe(i) | {"weight": float(w), "bought": bool(b)}
            for i, w, b in rows
        ]
        return {"user_id": user_id, "items": items}

    @app.get("/users/{user_id}/recommendations")
    async def recommend(
        user_id: UserId,
        k: Annotated[int, Query(ge=1, le=50)] = 10,
        diversity: Annotated[float, Query(ge=0, le=1)] = 0.3,
    ) -> dict:
        """Recommend k items that are new to the user.

        Items seen before fill the list when no others are left; those bought or sold
        out are never in it.
        """
        known("user_id", user_id, model.num_users)
        items, weights, bought = state["store"].history(user_id)
        blocked = np.zeros(num_items, bool)
        blocked[items[bought]] = blocked[state["store"].sold_out()] = True
        chosen = model.recommend(items, weights, blocked, k, diversity)
        found = [
            model.describe(i) | {"score": float(s)}
            for i, s in zip(*chosen, strict=True)
        ]
        basis = "history" if len(items) else "popularity"
        return {"user_id": user_id, "basis": basis, "items": found}

    return app
