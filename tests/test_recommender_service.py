"""The recommender service: state, HTTP, crashes, nonsense, and its page."""

import contextlib
import http.client
import json
import re
import sqlite3
import threading
import time
import tomllib
from pathlib import Path

import httpx
import numpy as np
import pytest
import schemathesis
from book_checks import accessibility_faults
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from lepton_utils import realtime, service
from lepton_utils import recommender_service as rs

TOKEN = "a token for the tests"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
NUM_USERS, NUM_ITEMS = 30, 40
few = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def make_model(**changes):
    """Items in four groups; an item's popularity falls with its number."""
    rng = np.random.default_rng(0)
    factors = np.eye(4)[np.arange(NUM_ITEMS) % 4] + rng.normal(0, 0.1, (NUM_ITEMS, 4))
    arguments = {
        "item_factors": factors,
        "popularity": np.arange(NUM_ITEMS, 0, -1),
        "num_users": NUM_USERS,
        "alpha": 5.0,
        "l2": 0.1,
        "title_en": [f"Thing {i}" for i in range(NUM_ITEMS)],
        "title_zh": [f"东西{i}" for i in range(NUM_ITEMS)],
        "category": [f"group {i % 4}" for i in range(NUM_ITEMS)],
        "price_usd": np.linspace(1, 99, NUM_ITEMS),
    }
    return rs.Model(**arguments | changes)


def start(folder):
    """Start the service on the files of a folder."""
    if not (folder / "model.npz").exists():
        make_model().save(folder / "model.npz")
    files = {"database": folder / "events.db", "model": folder / "model.npz"}
    return service.start(rs.create_app, token=TOKEN, **files)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = start(tmp_path_factory.mktemp("service"))
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log()


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.address, headers=HEADERS, timeout=10) as client:
        yield client


def make_event(**changes):
    event = {"event_id": "e", "user_id": 1, "item_id": 2, "event": "view", "time": 1e9}
    return event | changes


# ---- state

rows = st.tuples(
    st.integers(0, 3),
    st.integers(0, 5),
    st.sampled_from(sorted(rs.WEIGHTS)),
    st.floats(0, 1e7),
)


@few
@given(events=st.lists(rows, min_size=1, max_size=25), data=st.data())
def test_state_does_not_depend_on_order_repetition_or_transactions(
    tmp_path_factory, events, data
):
    named = [(f"e{i}", *row) for i, row in enumerate(events)]
    truth = realtime.DecayedCounts(rs.TAU)
    for name, user, item, event, moment in named:
        truth.add(user, item, moment, rs.WEIGHTS[event], name)
    sent = data.draw(st.permutations(named + named[: len(named) // 2]))
    cut = data.draw(st.integers(0, len(sent)))
    store = rs.Store(tmp_path_factory.mktemp("state") / "events.db")
    results = [
        result
        for part in (sent[:cut], sent[cut:])
        for result in store.write([("add", row) for row in part])
    ]
    assert results.count("stored") == store.count_events() == len(named)
    assert results.count("duplicate") == len(sent) - len(named)
    for user in {row[1] for row in named}:
        mine = [row for row in named if row[1] == user]
        items, weights, bought = store.history(user)
        expected = truth.counts(user, max(row[4] for row in mine))
        np.testing.assert_array_equal(items, expected[0])
        np.testing.assert_allclose(weights, expected[1], rtol=1e-9, atol=1e-12)
        purchases = {row[2] for row in mine if row[3] == "purchase"}
        assert set(items[bought]) == purchases
    store.close()


def test_a_transaction_that_fails_changes_nothing(tmp_path):
    store = rs.Store(tmp_path / "events.db")
    good = ("add", ("a", 1, 2, "view", 5.0))
    with pytest.raises(KeyError):
        store.write([good, ("add", ("b", 1, 2, "nonsense", 5.0))])
    assert store.count_events() == 0 and not len(store.history(1)[0])
    assert store.write([good, good]) == ["stored", "duplicate"]
    other = ("add", ("a", 1, 3, "view", 5.0))
    assert store.write([other]) == ["conflict"]
    assert store.history(1)[0].tolist() == [2]
    store.close()


def test_a_commit_waits_for_the_disk(tmp_path):
    store = rs.Store(tmp_path / "events.db")
    assert store.writer.execute("pragma synchronous").fetchone() == (2,)  # full
    assert store.writer.execute("pragma journal_mode").fetchone() == ("wal",)
    store.close()


def test_a_file_keeps_its_time_constant(tmp_path):
    rs.Store(tmp_path / "events.db", 60).close()
    with pytest.raises(ValueError, match="tau is 61; this file was written with 60"):
        rs.Store(tmp_path / "events.db", 61)
    rs.Store(tmp_path / "events.db", 60.0).close()


def test_history_is_empty_before_the_first_event(tmp_path):
    store = rs.Store(tmp_path / "events.db")
    assert [part.tolist() for part in store.history(7)] == [[], [], []]
    store.close()


# ---- model


def test_model_is_saved_and_loaded_whole(tmp_path):
    model = make_model()
    model.save(tmp_path / "model.npz")
    loaded = rs.Model.load(tmp_path / "model.npz")
    for name in ("item_factors", "popularity", "title_zh", "price_usd", "gram"):
        np.testing.assert_array_equal(getattr(model, name), getattr(loaded, name))
    assert (loaded.num_users, loaded.alpha, loaded.l2) == (NUM_USERS, 5.0, 0.1)
    assert loaded.describe(3)["title_zh"] == "东西3"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"item_factors": np.ones(3)}, r"item_factors is \(3,\); expected"),
        ({"item_factors": np.full((40, 2), np.nan)}, "finite"),
        ({"popularity": np.ones(3)}, r"popularity has shape \(3,\); expected \(40,\)"),
        ({"title_en": ["a"]}, "title_en has shape"),
        ({"num_users": 0}, "num_users is 0"),
        ({"l2": -1.0}, "l2 is -1.0"),
    ],
)
def test_model_refuses_what_does_not_fit(changes, said):
    with pytest.raises(ValueError, match=said):
        make_model(**changes)


def test_recommendations_equal_the_formula():
    model, items, weights = make_model(), np.array([1, 6]), np.array([1.0, 0.4])
    y, c = model.item_factors, np.ones(NUM_ITEMS)
    c[items] += model.alpha * weights
    preference = np.isin(np.arange(NUM_ITEMS), items)
    matrix = y.T @ np.diag(c) @ y + model.l2 * np.eye(4)
    scores = y @ np.linalg.solve(matrix, y.T @ (c * preference))
    blocked = np.zeros(NUM_ITEMS, bool)
    blocked[5] = True
    chosen, found = model.recommend(items, weights, blocked, 5, 0.0)
    expected = [i for i in np.argsort(-scores) if i not in (1, 5, 6)][:5]
    assert chosen.tolist() == expected
    np.testing.assert_allclose(found, scores[expected], rtol=1e-9)


def test_what_has_faded_does_not_pull():
    model, blocked = make_model(), np.zeros(NUM_ITEMS, bool)
    fresh = model.recommend(np.array([1]), np.ones(1), blocked, 5, 0.0)
    faded = np.array([1, 2, 3, 6]), np.array([1.0, 0.0, 1e-13, 1e-300])
    chosen, scores = model.recommend(*faded, blocked, 5, 0.0)
    np.testing.assert_array_equal(chosen, fresh[0])
    np.testing.assert_array_equal(scores, fresh[1])
    nothing_left = model.recommend(np.array([0]), np.zeros(1), blocked, 3, 0.0)
    assert nothing_left[0].tolist() == [1, 2, 3]  # by popularity


@pytest.mark.parametrize("num_seen", [0, 33, 37, 40])
def test_seen_items_come_last_and_only_to_fill_the_list(num_seen):
    model, blocked = make_model(), np.zeros(NUM_ITEMS, bool)
    blocked[[0, 38]] = True
    seen = np.arange(num_seen)
    chosen, scores = model.recommend(seen, np.ones(num_seen), blocked, 8, 0.3)
    num_new = min(8, NUM_ITEMS - num_seen - (num_seen <= 38) - (num_seen == 0))
    assert len(set(chosen)) == 8 and not {0, 38} & set(chosen)
    assert (chosen[:num_new] >= num_seen).all()
    assert (chosen[num_new:] < num_seen).all()
    assert (np.diff(scores[num_new:]) <= 0).all()


def test_nothing_to_recommend_is_an_empty_list():
    model = make_model()
    blocked = np.ones(NUM_ITEMS, bool)
    none = np.array([], int)
    assert len(model.recommend(none, none, blocked, 5, 0.3)[0]) == 0


# ---- HTTP


def recommended(client, user, **query):
    answer = client.get(f"/users/{user}/recommendations", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_click_changes_the_list_and_a_purchase_leaves_it(client):
    before = recommended(client, 2, k=8)
    assert before["basis"] == "popularity"
    assert before["items"][0]["item_id"] == 0
    click = make_event(event_id="click", user_id=2, item_id=7)
    assert client.post("/events", json=click).status_code == 201
    after = recommended(client, 2, k=8, diversity=0)
    assert after["basis"] == "history"
    assert {item["category"] for item in after["items"]} == {"group 3"}
    bought = after["items"][0]["item_id"]
    buy = make_event(event_id="buy", user_id=2, item_id=bought, event="purchase")
    client.post("/events", json=buy)
    left = [item["item_id"] for item in recommended(client, 2, k=50)["items"]]
    assert bought not in left and len(left) == NUM_ITEMS - 1
    assert left[-1] == 7 not in [item["item_id"] for item in after["items"]]
    history = client.get("/users/2/history").json()["items"]
    assert (history[0]["item_id"], history[0]["bought"]) == (bought, True)


def test_what_is_sold_out_is_not_recommended_until_it_is_back(client):
    for in_stock in (False, False, True):
        answer = client.put("/items/0/stock", json={"in_stock": in_stock})
        assert answer.json() == {"item_id": 0, "in_stock": in_stock}
        shown = [i["item_id"] for i in recommended(client, 3, k=5)["items"]]
        assert (0 in shown) == in_stock
        assert client.get("/items?limit=1").json()["items"][0]["in_stock"] == in_stock


def test_an_old_click_changes_a_list_only_by_not_being_in_it(client):
    new = {"user_id": 5, "time": 1e9, "item_id": 7}
    client.post("/events", json=make_event(event_id="new", **new))
    before = recommended(client, 5, k=8, diversity=0)["items"]
    for item in (2, 4, before[0]["item_id"]):
        old = {"user_id": 5, "time": 1e9 - 86400, "item_id": item}
        client.post("/events", json=make_event(event_id=f"old-{item}", **old))
    after = recommended(client, 5, k=8, diversity=0)["items"]
    assert after[:7] == before[1:]
    assert len(client.get("/users/5/history").json()["items"]) == 4


def test_a_purchase_of_what_has_sold_out_is_stored(client):
    client.put("/items/39/stock", json={"in_stock": False})
    late = make_event(event_id="late", user_id=6, item_id=39, event="purchase")
    assert client.post("/events", json=late).status_code == 201
    client.put("/items/39/stock", json={"in_stock": True})


def test_events_count_once(client):
    event = make_event(event_id="once", user_id=4)
    answers = [client.post("/events", json=event) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert answers[2].json() == {"event_id": "once", "result": "duplicate"}
    other = client.post("/events", json=event | {"item_id": 9})
    assert other.status_code == 409 and "another content" in other.text
    assert client.get("/users/4/history").json()["items"][0]["weight"] == 1
    text = client.get("/metrics").text
    assert 'events_total{event="view",result="duplicate"} 2.0' in text
    assert "commits_total" in text


WRONG = [
    ({"user_id": NUM_USERS}, f"user_id is {NUM_USERS}; expected 0 <= user_id < 30"),
    ({"user_id": 10**50}, "expected 0 <= user_id < 30"),
    ({"user_id": -1}, "body.user_id is -1; it should be greater than or equal to 0"),
    ({"user_id": "1"}, "body.user_id is '1'; it should be a valid integer"),
    ({"user_id": True}, "body.user_id is True"),
    ({"user_id": None}, "body.user_id is None"),
    ({"item_id": NUM_ITEMS}, "item_id is 40; expected 0 <= item_id < 40"),
    ({"item_id": 1.5}, "body.item_id is 1.5"),
    ({"event": "steal"}, "body.event is 'steal'; it should be 'view', 'cart' or"),
    ({"event_id": ""}, "body.event_id is ''; it should match pattern"),
    ({"event_id": "a b"}, "body.event_id is 'a b'"),
    ({"event_id": "x" * 65}, "body.event_id is 'xxx"),
    ({"event_id": "x\n"}, "body.event_id is"),
    ({"event_id": "\ud800"}, "body.event_id is"),
    ({"time": "2025-01-01"}, "body.time is '2025-01-01'; it should be a valid number"),
    ({"time": float("nan")}, "body.time is nan; it should be a"),
    ({"time": float("inf")}, "body.time is inf"),
    ({"time": -1}, "body.time is -1"),
    ({"time": 4e12}, "time is 4000000000000; expected seconds <= "),
    ({"surprise": 1}, "body.surprise is 1; it should not be there"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[w[1][:40] for w in WRONG])
def test_a_wrong_event_is_refused_with_a_reason(client, changes, said):
    body = json.dumps(make_event(**changes))
    headers = {"content-type": "application/json"}
    answer = client.post("/events", content=body, headers=headers)
    assert (answer.status_code, said in answer.json()["detail"]) == (422, True), (
        answer.text
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/users/30/recommendations", 404, "user_id is 30; expected 0 <="),
        ("GET", f"/users/{'9' * 400}/recommendations", 404, "expected 0 <= user_id"),
        ("GET", f"/users/{'9' * 5000}/recommendations", 422, "path.user_id is"),
        ("GET", "/users/-1/recommendations", 422, "greater than or equal to 0"),
        ("GET", "/users/abc/recommendations", 422, "path.user_id is 'abc'"),
        ("GET", "/users/1/recommendations?k=0", 422, "query.k is '0'"),
        ("GET", "/users/1/recommendations?k=51", 422, "less than or equal to 50"),
        ("GET", "/users/1/recommendations?diversity=nan", 422, "query.diversity"),
        ("GET", f"/items?offset={'9' * 30}", 200, '"items":[]'),
        ("GET", "/users/1/history/", 404, "nothing is at"),
        ("PUT", "/items/40/stock", 422, "body is missing"),
        ("DELETE", "/events", 405, "DELETE is not possible"),
    ],
)
def test_wrong_addresses(client, method, path, status, said):
    answer = client.request(method, path)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_writes_and_histories_need_the_token(server):
    calls = [
        ("POST", "/events", make_event(event_id="stranger")),
        ("PUT", "/items/1/stock", {"in_stock": False}),
        ("GET", "/users/1/history", None),
    ]
    for method, path, body in calls:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            url = server.address + path
            answer = httpx.request(method, url, json=body, headers=headers)
            assert answer.status_code == 401, path
    items = httpx.get(server.address + "/items?limit=2").json()["items"]
    assert items[1]["in_stock"]


def test_a_huge_body_is_refused(client):
    answer = client.post("/events", content=b"[" * 1_000_000)
    assert answer.status_code == 413 and "at most 65536" in answer.text


def test_a_disk_that_fails_is_said_and_nothing_is_acknowledged(tmp_path):
    server = start(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as other:
        other.execute("drop table counts")
    url = server.address + "/events"
    answer = httpx.post(url, json=make_event(), headers=HEADERS)
    assert answer.status_code == 503 and "send it again" in answer.text
    health = httpx.get(server.address + "/health")
    assert health.json() == {"status": "ok", "events": 0}
    server.stop()


# ---- nonsense of all kinds


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_makes_the_service_fail(server, mode):
    url = server.address + "/openapi.json"
    schema = schemathesis.openapi.from_url(url, wait_for_schema=5)
    tried = []
    for operation in schema.get_all_operations():
        cases = operation.ok().as_strategy(generation_mode=mode)

        @few
        @given(case=cases)
        def check(case):
            answer = case.call(headers=HEADERS, timeout=5)
            case.validate_response(answer, checks=[not_a_server_error])
            tried.append(answer.status_code)

        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong in /health
            check()
    assert len(tried) > 50 and max(tried) < 500


# ---- crashes


class Load:
    """Threads that post events and note which were acknowledged."""

    def __init__(self, address, prefix, threads=6):
        self.host = address.removeprefix("http://")
        self.acknowledged, self.sent, self.failed = {}, {}, []
        self.threads = [
            threading.Thread(target=self.post, args=(f"{prefix}-{i}",))
            for i in range(threads)
        ]
        for thread in self.threads:
            thread.start()

    def post(self, name):
        connection = http.client.HTTPConnection(self.host, timeout=10)
        rng, number = np.random.default_rng(abs(hash(name)) % 2**32), 0
        try:
            while number < 20_000:
                event = {
                    "event_id": f"{name}-{number}",
                    "user_id": int(rng.integers(NUM_USERS)),
                    "item_id": int(rng.integers(NUM_ITEMS)),
                    "event": "view",
                    "time": float(rng.uniform(1e9, 1.001e9)),
                }
                self.sent[event["event_id"]] = event
                headers = HEADERS | {"content-type": "application/json"}
                connection.request("POST", "/events", json.dumps(event), headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 201:
                    self.failed.append(answer.status)
                    return
                self.acknowledged[event["event_id"]] = event
                number += 1
        except (OSError, http.client.HTTPException):
            return  # the service has gone
        finally:
            connection.close()

    def join(self):
        for thread in self.threads:
            thread.join(20)


def check_everything_is_there(folder, loads):
    """Compare the files with what was acknowledged, and the counts with the events."""
    store = rs.Store(folder / "events.db")
    names = {name for (name,) in store.reader.execute("select event_id from events")}
    rows = store.reader.execute("select * from events").fetchall()
    acknowledged = {name for load in loads for name in load.acknowledged}
    sent = {name for load in loads for name in load.sent}
    assert acknowledged <= names <= sent
    truth = realtime.DecayedCounts(rs.TAU)
    for name, user, item, event, moment in rows:
        truth.add(user, item, moment, rs.WEIGHTS[event], name)
    for user in range(NUM_USERS):
        items, weights, _ = store.history(user)
        newest = max((row[4] for row in rows if row[1] == user), default=0.0)
        expected = truth.counts(user, newest)
        np.testing.assert_array_equal(items, expected[0])
        np.testing.assert_allclose(weights, expected[1], rtol=1e-9)
    store.close()
    return acknowledged, names


def test_killed_under_load_three_times_nothing_acknowledged_is_lost(tmp_path):
    loads = []
    for life in range(3):
        server = start(tmp_path)
        loads.append(Load(server.address, f"life{life}"))
        time.sleep(0.8)
        server.process.kill()
        loads[-1].join()
        server.stop()
        assert not loads[-1].failed
    acknowledged, names = check_everything_is_there(tmp_path, loads)
    assert len(acknowledged) > 100
    server = start(tmp_path)
    unsure = [e for load in loads for e in load.sent.values()]
    with httpx.Client(base_url=server.address, headers=HEADERS) as client:
        for event in unsure[-100:]:
            known = event["event_id"] in names
            answer = client.post("/events", json=event)
            assert answer.status_code == (200 if known else 201)
        assert client.get("/health").json()["events"] == len(
            names | {event["event_id"] for event in unsure[-100:]}
        )
    assert server.stop() == 0
    check_everything_is_there(tmp_path, loads)


def test_stopped_under_load_it_acknowledges_what_it_stores(tmp_path):
    server = start(tmp_path)
    load = Load(server.address, "graceful")
    time.sleep(0.5)
    assert server.stop() == 0
    load.join()
    acknowledged, names = check_everything_is_there(tmp_path, [load])
    assert acknowledged == names and not set(load.failed) - {503}


# ---- the page


def test_the_page_is_part_of_the_package():
    settings = tomllib.loads(Path("pyproject.toml").read_text("utf8"))["tool"]
    assert "*.html" in settings["setuptools"]["package-data"]["lepton_utils"]


@pytest.fixture
def page(browser, server):
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.faults, page.asked = [], []
    page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else 0)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


def titles(page, name):
    return page.locator(f"#{name} li").evaluate_all(
        "lines => lines.map(line => Number(line.dataset.item))"
    )


def open_page(page, server, user):
    page.goto(f"{server.address}/#token={TOKEN.replace(' ', '%20')}&user={user}")
    page.locator("#recommended li").nth(9).wait_for()


def test_recommendations_change_as_you_click(page, server):
    open_page(page, server, 11)
    assert TOKEN.split()[0] not in page.url
    before = titles(page, "recommended")
    assert page.locator("#basis").inner_text().startswith("No events yet")
    page.locator('#shelf [data-item="5"] [data-event="view"]').click()
    page.get_by_text("stored.").wait_for()
    after = titles(page, "recommended")
    assert after != before and sum(i % 4 == 1 for i in after) >= 5
    assert page.locator("#recommended .moved.new").count() == len({*after} - {*before})
    assert titles(page, "history") == [5]
    page.locator(
        f'#recommended [data-item="{after[0]}"] [data-event="purchase"]'
    ).click()
    page.locator(f'#history [data-item="{after[0]}"]').get_by_text("bought").wait_for()
    assert after[0] not in titles(page, "recommended")
    assert not page.faults
    assert all(url.startswith((server.address, "data:")) for url in page.asked)


def test_the_page_works_by_keyboard_and_keeps_the_focus(page, server):
    open_page(page, server, 12)
    button = page.locator('#shelf [data-item="2"] [data-event="cart"]')
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_text("stored.").wait_for()
    assert button.evaluate("button => button === document.activeElement")
    first = page.locator("#recommended button").first
    first.focus()
    page.keyboard.press("Enter")
    page.locator("#history li").nth(1).wait_for()
    page.wait_for_function("document.activeElement.tagName === 'BUTTON'")


def test_the_page_says_what_is_wrong(page, server):
    page.goto(server.address)
    page.locator("#recommended li").nth(9).wait_for()
    page.locator('#shelf [data-event="view"]').first.click()
    page.get_by_text("no token came").wait_for()
    page.locator("#user").fill("99")
    page.locator("#user").press("Tab")
    page.get_by_text("user_id is 99; expected 0 <= user_id < 30").wait_for()
    assert not titles(page, "recommended") and not titles(page, "history")
    assert page.locator("#basis").inner_text() == ""


def test_the_page_says_what_changed(page, server):
    open_page(page, server, 14)
    page.locator('#shelf [data-item="5"] [data-event="view"]').click()
    page.get_by_text("stored.").wait_for()
    page.locator("#diversity").fill("1")
    exactly = re.compile(r"^\d+ of 10 recommendations are new\.$")
    page.locator("#status").get_by_text(exactly).wait_for()
    page.locator("#more").click()
    page.get_by_text("Click on an item and watch the list.").wait_for()
    assert not page.faults


def test_the_page_tells_stored_from_shown(page, server):
    open_page(page, server, 15)
    page.route("**/recommendations?*", lambda route: route.abort())
    page.locator('#shelf [data-item="5"] [data-event="view"]').click()
    page.get_by_text("Thing 5: stored; the list could not be loaded").wait_for()
    page.unroute("**/recommendations?*")
    page.route("**/events", lambda route: route.abort())
    page.locator('#shelf [data-item="6"] [data-event="view"]').click()
    page.get_by_text("Failed to fetch", exact=True).wait_for()


def test_the_page_sells_nothing_that_has_sold_out(page, server, client):
    client.put("/items/3/stock", json={"in_stock": False})
    open_page(page, server, 16)
    line = page.locator('#shelf [data-item="3"]')
    assert (
        line.get_by_text("sold out").is_visible() and not line.locator("button").count()
    )
    client.put("/items/3/stock", json={"in_stock": True})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_is_accessible(page, server, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    open_page(page, server, 13)
    page.locator('#shelf [data-event="view"]').nth(1).click()
    page.get_by_text("stored.").wait_for()
    visit = type("Visit", (), {"page": page})
    assert accessibility_faults(visit) == []
    scroll = page.evaluate("document.documentElement.scrollWidth")
    assert scroll <= width
