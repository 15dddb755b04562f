"""Make data/shop: a simulated shop whose truth is known.

    python tools/make_shop.py            # writes data/shop/*
    python tools/make_shop.py FOLDER     # writes them elsewhere

No public set of recommendations says what its users would have liked, what they were
shown, or where they looked. Here all of it is known, because it was made:

- A user u who looks at an item i clicks it with the probability ("affinity")
  sigmoid(offset + item_bias[i] + user_factors[u] . item_factors[i]).
- Item factors are sums of vectors for department, category, kind, style, color,
  material, and a rest of the item's own. The words stand in the title, so a title
  tells something about an item that nobody has clicked yet.
- A session opens with a list of LIST_SIZE items, ordered mostly by what was clicked
  lately (a feedback loop), a little by season and by the user's own last views. The
  user looks at place k with probability examination[k], and clicks with that times
  the affinity. RANDOMIZED of the lists are in random order of random items.
- Then the user browses, mostly within one category: position 0.
- The log is what reached the server, with every fault that `spoil_log` names.

Everything follows from one seed. Times are seconds since START, in UTC, until written.
"""

import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

FOLDER = Path(__file__).resolve().parent.parent / "data" / "shop"
SEED = 2005
START = pd.Timestamp("2025-03-01")
DAYS = 60
DAY = 86_400  # s
NUM_USERS, NUM_BOTS, NUM_ITEMS, NUM_FACTORS = 3_600, 12, 800, 8
LIST_SIZE = 12

# Country: time zone, share of users. Clocks change on 9 March in New York and on
# 30 March in Berlin; the others keep theirs.
COUNTRIES = {
    "United States": ("America/New_York", 0.34),
    "Germany": ("Europe/Berlin", 0.2),
    "China": ("Asia/Shanghai", 0.26),
    "India": ("Asia/Kolkata", 0.12),
    "Brazil": ("America/Sao_Paulo", 0.08),
}
# Relative number of sessions by local hour 0-23, and by weekday Monday-Sunday.
HOURS = [2, 1, 0.6, 0.4, 0.4, 0.7, 1.5, 3, 4, 4.2, 4.4, 5, 6.2, 5.6, 4.6, 4.3]
HOURS += [4.6, 5.2, 6.2, 7.8, 9.4, 9.8, 7.6, 4.4]
WEEKDAYS = [0.95, 0.92, 0.92, 0.95, 1.05, 1.25, 1.2]

OFFSET = -2.8  # of the affinity, in logits
STRENGTH = 2.5  # standard deviation of user_factors . item_factors
QUALITY = 0.45  # standard deviation of item_bias
PARTS = {"department": 0.55, "category": 0.75, "kind": 0.35, "style": 0.3}
PARTS |= {"color": 0.3, "material": 0.35, "own": 0.45}  # of an item's factors
EXAMINATION = 1 / np.arange(1, LIST_SIZE + 1) ** 0.7
RANDOMIZED = 0.06  # share of lists
NEW_USERS, NEW_ITEMS = 0.2, 0.15  # shares that arrive during the days
SESSIONS, SPREAD = 7.2, 0.95  # a user's in DAYS: median, standard deviation of the log
BROWSED = 4.1  # items a session views beyond the list, mean
FOCUS = 0.75  # share of them in the session's category
FADE = 0.95  # a day, of the click counts by which lists are ordered
CART, PURCHASE = 0.07, 0.4  # of views, of carts, at a middling affinity

# Department -> (season by day, materials, categories); a category has a median price
# in USD, its spread (standard deviation of the log) and its kinds.
MATERIALS = {
    "steel": "不锈钢",
    "oak": "橡木",
    "bamboo": "竹制",
    "glass": "玻璃",
    "ceramic": "陶瓷",
    "cotton": "棉质",
    "linen": "亚麻",
    "wool": "羊毛",
    "leather": "皮革",
    "denim": "牛仔布",
    "nylon": "尼龙",
    "aluminum": "铝合金",
    "carbon": "碳纤维",
    "rubber": "橡胶",
    "plastic": "塑料",
    "silicone": "硅胶",
    "paper": "纸质",
    "felt": "毛毡",
    "rose": "玫瑰",
    "lavender": "薰衣草",
    "citrus": "柑橘",
    "aloe": "芦荟",
}
COLORS = {
    "black": "黑色",
    "white": "白色",
    "gray": "灰色",
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "brown": "棕色",
}
STYLES = {
    "classic": "经典",
    "modern": "现代",
    "rustic": "田园",
    "vintage": "复古",
    "minimalist": "简约",
    "compact": "便携",
    "premium": "高档",
    "everyday": "日常",
    "playful": "趣味",
    "handmade": "手工",
}
SHOP = {
    "Kitchen": ("flat", "steel glass ceramic bamboo silicone", {
        "Cookware": (38, 0.5, {"frying pan": "煎锅", "saucepan": "汤锅", "wok": "炒锅"}),
        "Tableware": (16, 0.5, {"bowl": "碗", "plate": "盘子", "mug": "马克杯"}),
        "Knives": (29, 0.6, {"chef knife": "主厨刀", "bread knife": "面包刀"}),
        "Tea and coffee": (24, 0.5, {"teapot": "茶壶", "kettle": "水壶", "coffee press": "法压壶"}),
        "Storage": (13, 0.4, {"jar": "储物罐", "lunch box": "饭盒", "bread box": "面包箱"}),
    }),
    "Home": ("flat", "oak bamboo cotton linen wool glass", {
        "Lighting": (42, 0.6, {"desk lamp": "台灯", "floor lamp": "落地灯", "lantern": "灯笼"}),
        "Bedding": (48, 0.5, {"blanket": "毯子", "pillow": "枕头", "duvet": "被子"}),
        "Furniture": (115, 0.6, {"chair": "椅子", "shelf": "书架", "side table": "边几"}),
        "Decoration": (19, 0.6, {"vase": "花瓶", "picture frame": "相框", "candle holder": "烛台"}),
    }),
    "Clothing": ("flat", "cotton linen wool leather denim", {
        "Tops": (22, 0.4, {"T-shirt": "T恤", "shirt": "衬衫", "sweater": "毛衣"}),
        "Trousers": (39, 0.4, {"jeans": "牛仔裤", "shorts": "短裤", "trousers": "长裤"}),
        "Coats": (88, 0.5, {"coat": "大衣", "jacket": "夹克", "raincoat": "雨衣"}),
        "Shoes": (64, 0.5, {"sneakers": "运动鞋", "boots": "靴子", "sandals": "凉鞋"}),
        "Bags": (46, 0.6, {"backpack": "双肩包", "handbag": "手提包", "wallet": "钱包"}),
    }),
    "Sports": ("flat", "nylon aluminum carbon rubber steel", {
        "Running": (34, 0.6, {"running belt": "跑步腰包", "headband": "头带", "water bottle": "运动水壶"}),
        "Cycling": (52, 0.7, {"helmet": "头盔", "bike light": "车灯", "saddle": "车座"}),
        "Camping": (72, 0.7, {"tent": "帐篷", "sleeping bag": "睡袋", "camp stove": "露营炉"}),
        "Winter sports": (81, 0.6, {"ski goggles": "滑雪镜", "ski poles": "滑雪杖", "sled": "雪橇"}),
        "Fitness": (27, 0.6, {"yoga mat": "瑜伽垫", "dumbbell": "哑铃", "jump rope": "跳绳"}),
    }),
    "Electronics": ("flat", "aluminum plastic glass carbon silicone", {
        "Audio": (69, 0.7, {"headphones": "耳机", "speaker": "音箱", "microphone": "麦克风"}),
        "Computing": (44, 0.6, {"keyboard": "键盘", "mouse": "鼠标", "laptop stand": "笔记本支架"}),
        "Phones": (18, 0.5, {"phone case": "手机壳", "charger": "充电器", "power bank": "充电宝"}),
        "Cameras": (96, 0.7, {"tripod": "三脚架", "camera strap": "相机背带", "lens": "镜头"}),
        "Wearables": (84, 0.5, {"smart watch": "智能手表", "fitness band": "手环"}),
    }),
    "Garden": ("spring", "steel oak ceramic bamboo rubber", {
        "Pots": (21, 0.6, {"flower pot": "花盆", "planter": "种植箱", "hanging basket": "吊篮"}),
        "Tools": (26, 0.5, {"spade": "铲子", "rake": "耙子", "pruning shears": "修枝剪"}),
        "Watering": (23, 0.5, {"watering can": "洒水壶", "garden hose": "水管", "sprinkler": "洒水器"}),
        "Outdoor living": (94, 0.7, {"garden chair": "花园椅", "parasol": "遮阳伞", "grill": "烧烤架"}),
    }),
    "Beauty": ("flat", "rose lavender citrus aloe", {
        "Skin care": (23, 0.6, {"face cream": "面霜", "cleanser": "洗面奶", "face mask": "面膜"}),
        "Hair care": (14, 0.4, {"shampoo": "洗发水", "conditioner": "护发素", "hair oil": "护发油"}),
        "Bath": (11, 0.4, {"soap": "香皂", "bath salt": "浴盐", "shower gel": "沐浴露"}),
        "Fragrance": (47, 0.6, {"perfume": "香水", "scented candle": "香薰蜡烛"}),
    }),
    "Play and paper": ("flat", "paper oak felt plastic cotton", {
        "Board games": (29, 0.4, {"board game": "桌游", "chess set": "国际象棋", "card game": "纸牌"}),
        "Puzzles": (17, 0.4, {"jigsaw puzzle": "拼图", "brain teaser": "益智玩具"}),
        "Soft toys": (19, 0.4, {"teddy bear": "泰迪熊", "plush panda": "毛绒熊猫", "doll": "布娃娃"}),
        "Stationery": (9, 0.5, {"notebook": "笔记本", "pencil case": "笔袋", "calendar": "日历"}),
    }),
}  # fmt: skip
SEASONS = {"Winter sports": "winter", "Coats": "winter", "Camping": "spring"}
SEASONS |= {"Cycling": "spring", "Shoes": "flat"}

# Faults of the log: shares of events, sessions or users.
COPIED, RETRIED, UNKNOWN = 0.015, 0.02, 0.004  # of events
OFFLINE = 0.03  # of sessions: sent hours later
SKEWED = 0.04  # of users: their clock is wrong
OLD_CLIENT, UTC_CLIENT = 0.2, 0.12  # of users: no zone in the log; UTC in the log
BOT_RATE = (180, 420)  # views an hour


def sigmoid(z):
    """Logistic function."""
    return 1 / (1 + np.exp(-z))


def make_shop(seed=SEED):
    """Simulate the shop.

    Returns:
        dict of DataFrames ``users``, ``items``, ``events`` (the raw log), ``lists``,
        of a dict of arrays ``truth``, and of the DataFrame ``happened``: the events as
        they happened, which the log spoils and which is not written.
    """
    rng = np.random.default_rng(seed)
    items, words = make_items(rng)
    users = make_users(rng)
    truth = make_truth(rng, users, items, words)
    sessions = make_sessions(rng, users)
    season = make_season(items)
    lists, views = browse(rng, sessions, items, truth, season)
    happened = make_events(rng, sessions, views, items, truth)
    users, clients = make_clients(rng, users)
    log = spoil_log(rng, happened, users, clients)
    truth |= {"clock_skew": clients["skew"].to_numpy(np.int32)}
    for table, column in ((users, "signup_time"), (items, "release_time")):
        table[column] = to_time(table[column])
    tables = {"users": users, "items": items, "events": log, "lists": lists}
    return tables | {"truth": truth, "happened": happened}


def make_items(rng):
    """Draw the catalog; return it, and the words behind each item's factors."""
    rows = [
        (department, category, price, spread, kinds, materials.split())
        for department, (_, materials, categories) in SHOP.items()
        for category, (price, spread, kinds) in categories.items()
    ]
    shares = rng.dirichlet(np.full(len(rows), 4.0))
    sizes = 8 + rng.multinomial(NUM_ITEMS - 8 * len(rows), shares)
    chosen, titles = [], set()
    for row, size in zip(rows, sizes, strict=True):
        last = len(chosen) + size
        while len(chosen) < last:
            item = draw_item(rng, *row)
            if item["title_en"] not in titles:
                titles.add(item["title_en"])
                chosen.append(item)
    chosen = [chosen[i] for i in rng.permutation(NUM_ITEMS)]
    table = pd.DataFrame(chosen)
    new = rng.random(NUM_ITEMS) < NEW_ITEMS
    day = np.where(new, rng.uniform(0, 56, NUM_ITEMS), rng.uniform(-700, -1, NUM_ITEMS))
    table["release_time"] = (day * DAY).astype(np.int64)
    table["in_stock"] = rng.random(NUM_ITEMS) < 0.95
    table.insert(0, "item_id", np.arange(NUM_ITEMS, dtype=np.int32))
    words = table[["department", "category", "kind", "style", "color", "material"]]
    return table.drop(columns=["kind", "style", "color", "material"]), words


def draw_item(rng, department, category, price, spread, kinds, materials):
    """Draw one item: its words, its titles, its price."""
    kind, style, color, material = (
        str(rng.choice(list(words))) for words in (kinds, STYLES, COLORS, materials)
    )
    price = price * np.exp(spread * rng.normal())
    return {
        "department": department,
        "category": category,
        "title_en": f"{style} {color} {material} {kind}".capitalize(),
        "title_zh": STYLES[style] + COLORS[color] + MATERIALS[material] + kinds[kind],
        "price_usd": round(max(np.floor(price), 2) - 0.01 * rng.integers(0, 6), 2),
        "kind": kind,
        "style": style,
        "color": color,
        "material": material,
    }


def make_users(rng):
    """Draw the accounts; the last NUM_BOTS belong to bots. Times in seconds."""
    number = NUM_USERS + NUM_BOTS
    names, shares = list(COUNTRIES), [share for _, share in COUNTRIES.values()]
    country = rng.choice(names, number, p=shares)
    zone = np.array([COUNTRIES[name][0] for name in country])
    new = rng.random(number) < NEW_USERS
    day = np.where(new, rng.uniform(0, 59, number), rng.uniform(-900, 0, number))
    columns = {"user_id": np.arange(number, dtype=np.int32), "country": country}
    columns |= {"time_zone": zone, "signup_time": (day * DAY).astype(np.int64)}
    return pd.DataFrame(columns)


def make_truth(rng, users, items, words):
    """Draw the factors, and with them the affinity of every user to every item."""
    factors = PARTS["own"] * rng.normal(size=(NUM_ITEMS, NUM_FACTORS))
    for column in words:
        names, index = np.unique(words[column], return_inverse=True)
        vectors = rng.normal(size=(len(names), NUM_FACTORS))
        factors += PARTS[column] * vectors[index]
    factors -= factors.mean(axis=0)
    tastes = rng.normal(size=(NUM_USERS, NUM_FACTORS))
    tastes *= STRENGTH / (tastes @ factors.T).std()
    # What a country likes a little more than others do.
    country = np.unique(users.country[:NUM_USERS], return_inverse=True)[1]
    tastes += 0.35 * tastes.std() * rng.normal(size=(5, NUM_FACTORS))[country]
    return {
        "user_factors": tastes.astype(np.float32),
        "item_factors": factors.astype(np.float32),
        "item_bias": (QUALITY * rng.normal(size=NUM_ITEMS)).astype(np.float32),
        "offset": np.float32(OFFSET),
        "examination": EXAMINATION.astype(np.float32),
    }


def affinities(truth):
    """Probability (users, items) that a user who looks at an item clicks it."""
    logits = truth["user_factors"].astype(float) @ truth["item_factors"].T.astype(float)
    return sigmoid(truth["offset"].astype(float) + truth["item_bias"] + logits)


def make_sessions(rng, users):
    """Draw when each user comes: more at certain local hours and on weekends."""
    people = users[:NUM_USERS]
    first_day = np.maximum(people.signup_time, 0) / DAY
    rate = SESSIONS * np.exp(SPREAD * rng.normal(size=NUM_USERS)) / DAYS
    number = 1 + rng.poisson(rate * (DAYS - first_day))
    user = np.repeat(np.arange(NUM_USERS), number)
    # Days are drawn by weekday, among those since the user's first; hours by the clock.
    weight = np.array([WEEKDAYS[(START.day_of_week + d) % 7] for d in range(DAYS)])
    total = np.concatenate([[0], np.cumsum(weight)])
    low = np.interp(first_day.to_numpy()[user], np.arange(DAYS + 1), total)
    day = np.interp(rng.uniform(low, total[-1]), total, np.arange(DAYS + 1)) // 1
    hour = rng.choice(24, len(user), p=np.array(HOURS) / np.sum(HOURS))
    local = day * DAY + hour * 3600 + rng.integers(0, 3600, len(user))
    zone = people.time_zone.to_numpy()[user]
    start = local.astype(np.int64) - utc_offset(local, zone, local_time=True)
    first = np.concatenate([[True], user[1:] != user[:-1]])
    signup = people.signup_time.to_numpy()[user]
    start = np.where(first & (signup > 0), signup + 30, start)
    kept = (start >= np.maximum(signup, 0)) & (start < DAYS * DAY)
    order = np.lexsort([user[kept], start[kept]])
    columns = {"user_id": user[kept][order], "start": start[kept][order]}
    return pd.DataFrame(columns)


def utc_offset(seconds, zone, local_time=False):
    """Offset of the local clock from UTC in seconds, at UTC (or local) times."""
    offset = np.zeros(len(seconds), np.int64)
    times = pd.Series(to_time(seconds))
    for name in np.unique(zone):
        here = zone == name
        if local_time:
            aware = times[here].dt.tz_localize(name, nonexistent="shift_forward")
            utc = aware.dt.tz_convert("UTC").dt.tz_localize(None)
            offset[here] = (times[here] - utc).dt.total_seconds()
        else:
            aware = times[here].dt.tz_localize("UTC").dt.tz_convert(name)
            local = aware.dt.tz_localize(None)
            offset[here] = (local - times[here]).dt.total_seconds()
    return offset


def to_time(seconds):
    """Turn seconds since START into time stamps (microseconds, no zone)."""
    seconds = np.asarray(seconds).astype(np.int64)
    return START.to_datetime64().astype("M8[us]") + seconds.astype("m8[s]")


def make_season(items):
    """Relative demand (days, items): spring rises, winter falls by day."""
    day = np.arange(DAYS)[:, None]
    curves = {"flat": 0 * day + 1.0, "spring": np.exp(-0.5 + 1.0 * day / DAYS)}
    curves["winter"] = np.exp(0.5 - 1.5 * day / DAYS)
    names = [
        SEASONS.get(category, SHOP[department][0])
        for department, category in zip(items.department, items.category, strict=True)
    ]
    return np.concatenate([curves[name] for name in names], axis=1)


def browse(rng, sessions, items, truth, season):
    """Let the sessions happen, day by day, because lists follow yesterday's clicks.

    Returns:
        lists: DataFrame, a row for each session: what was shown, item_1, item_2 ...;
        views: DataFrame of session, item, position, in the order of each session.
    """
    affinity = affinities(truth)
    category = np.unique(items.category, return_inverse=True)[1]
    member = np.eye(category.max() + 1)[category]  # (items, categories)
    release = items.release_time.to_numpy()
    appeal = np.exp(
        1.3 * rng.normal(size=NUM_ITEMS)
    )  # outside this shop: lasting, unequal
    counts = np.where(release < 0, 20 * appeal, 0.0)
    taste = np.zeros((NUM_USERS, member.shape[1]))  # a user's last views by category
    lists, views = [], []
    for day in range(DAYS):
        today = np.flatnonzero(sessions.start // DAY == day)
        user, start = (sessions[c].to_numpy()[today] for c in ("user_id", "start"))
        there = release <= start[:, None]
        score = 0.9 * np.log1p(counts) + np.log(season[day]) + taste[user] @ member.T
        shuffled = rng.random(len(today)) < RANDOMIZED
        score = np.where(shuffled[:, None], 0, score) + rng.gumbel(size=there.shape)
        score[~there] = -np.inf
        shown = np.argsort(-score, axis=1)[:, :LIST_SIZE]
        chance = EXAMINATION * np.take_along_axis(affinity[user], shown, axis=1)
        row, place = np.nonzero(rng.random(shown.shape) < chance)
        pull = there * affinity[user] * season[day] * np.sqrt(1 + counts + 5 * appeal)
        row_b, item_b = browse_freely(rng, pull, member)
        found = pd.DataFrame(
            {
                "session": today[np.concatenate([row, row_b])],
                "item": np.concatenate([shown[row, place], item_b]),
                "position": np.concatenate([place + 1, np.zeros(len(row_b), int)]),
            }
        )
        counts = FADE * counts + np.bincount(found["item"], minlength=NUM_ITEMS)
        clicks = np.zeros_like(taste)
        visitor = sessions.user_id.to_numpy()[found.session]
        np.add.at(clicks, (visitor, category[found["item"]]), 1)
        taste = 0.95 * taste + 0.3 * np.minimum(clicks, 3)
        taste = np.minimum(taste, 2.0)
        views.append(found.sort_values("session", kind="stable"))
        lists.append(describe_lists(today, user, start, shuffled, shown))
    return pd.concat(lists, ignore_index=True), pd.concat(views, ignore_index=True)


def browse_freely(rng, pull, member):
    """Draw what sessions view beyond the list: a category each, then items."""
    number = rng.negative_binomial(1.3, 1.3 / (1.3 + BROWSED), len(pull))
    mass = pull @ member
    focus = member[:, draw_rows(rng, mass)].T  # (sessions, items)
    row = np.repeat(np.arange(len(pull)), number)
    inside = rng.random(len(row)) < FOCUS
    weight = np.where(inside[:, None], pull[row] * focus[row], pull[row])
    return row, draw_rows(rng, weight)


def draw_rows(rng, weight):
    """Draw one column for each row, with probability in proportion to its weight."""
    total = np.cumsum(weight, axis=1)
    wanted = rng.random(len(total)) * total[:, -1]
    return (total <= wanted[:, None]).sum(axis=1)


def describe_lists(session, user, start, shuffled, shown):
    """Make the rows of ``lists``: session, user, time, whether random, the items."""
    columns = {"session_id": session, "user_id": user, "time": to_time(start)}
    columns["randomized"] = shuffled
    columns |= {f"item_{k + 1}": shown[:, k] for k in range(LIST_SIZE)}
    table = pd.DataFrame(columns)
    numbers = [name for name in table if name not in ("time", "randomized")]
    return table.astype(dict.fromkeys(numbers, "int32"))


def make_events(rng, sessions, views, items, truth):
    """Give the views their times; some lead to the cart, some of these to a purchase."""
    session, item = views.session.to_numpy(), views["item"].to_numpy()
    user, start = (sessions[c].to_numpy()[session] for c in ("user_id", "start"))
    gap = 4 + 38 * np.exp(1.0 * rng.normal(size=len(views)))
    total = np.cumsum(gap)
    first = np.concatenate([[True], session[1:] != session[:-1]])
    time = start + total - np.repeat(total[first] - gap[first], run_lengths(first))
    affinity = affinities(truth)[user, item]
    price = np.log(items.price_usd.to_numpy() / 30)[item]
    liking = np.log(affinity / (1 - affinity)) + 0.8
    logit = np.log(CART / (1 - CART)) + 0.5 * liking - 0.25 * price
    again = pd.DataFrame({"s": session, "i": item}).duplicated().to_numpy()
    cart = ~again & (rng.random(len(views)) < sigmoid(logit))
    logit = np.log(PURCHASE / (1 - PURCHASE)) + 0.3 * liking - 0.1 * price
    bought = cart & (rng.random(len(views)) < sigmoid(logit))
    cart_time = time + 3 + 15 * rng.exponential(size=len(views))
    end = np.repeat(
        np.maximum.reduceat(cart_time, first.nonzero()[0]), run_lengths(first)
    )
    bought_time = end + 20 + 40 * rng.exponential(size=len(views))
    columns = {"user_id": user, "item_id": item, "session_id": session}
    columns["position"] = views.position.to_numpy()
    table = pd.DataFrame(columns).astype("int32")
    parts = [("view", time, slice(None)), ("cart", cart_time, cart)]
    parts.append(("purchase", bought_time, bought))
    table = pd.concat(
        table[rows].assign(event=event, second=times[rows].astype(np.int64))
        for event, times, rows in parts
    )
    table = table[table.second < DAYS * DAY]
    table = table.sort_values(
        ["session_id", "second"], kind="stable", ignore_index=True
    )
    table["event_id"] = number_events(table.session_id.to_numpy())
    return table


def run_lengths(first):
    """Length of each run, from where runs begin."""
    return np.diff(np.append(first.nonzero()[0], len(first)))


def number_events(session):
    """Number events: the client counts within a session, 1,000 numbers for each."""
    first = np.concatenate([[True], session[1:] != session[:-1]])
    place = np.arange(len(session)) - np.repeat(first.nonzero()[0], run_lengths(first))
    assert place.max() < 1000
    return session.astype(np.int64) * 1000 + place


def make_clients(rng, users):
    """Draw how each account's client keeps time: what it logs, how wrong its clock is."""
    number = len(users)
    draw = rng.random(number)
    kind = np.where(draw < OLD_CLIENT, "old", "new")
    kind = np.where(draw > 1 - UTC_CLIENT, "utc", kind)
    size = np.exp(rng.uniform(np.log(150), np.log(6 * 3600), number))
    skew = np.where(rng.random(number) < SKEWED, rng.choice([-1, 1], number) * size, 0)
    skew[NUM_USERS:] = 0
    return users, pd.DataFrame({"kind": kind, "skew": skew.astype(np.int64)})


def spoil_log(rng, happened, users, clients):
    """Write the log as a server receives it.

    - client_time is the client's local clock; utc_offset its distance from UTC in
      minutes, 0 where the client logs UTC, empty where an old client does not say.
    - The clock of some clients is wrong by a constant.
    - Sessions without a connection are sent hours later: the log is ordered by the
      time of arrival (received, UTC), not by the time of the event.
    - Some events are sent twice (same event_id, later arrival), some rows written
      twice (equal in every column), some name items that do not exist.
    - Bots view hundreds of items an hour, all day long.
    """
    log = pd.concat([happened, make_bots(rng)], ignore_index=True)
    log["position"] = log.position.astype(np.int16)
    unknown = (rng.random(len(log)) < UNKNOWN) & (log.event == "view")
    extra = log[unknown].copy()
    extra["event_id"] += 500  # the client counts on: a number of its own
    extra["item_id"] = NUM_ITEMS + rng.integers(0, 60, len(extra)).astype(np.int32)
    extra["position"] = np.int16(0)
    log = pd.concat([log, extra], ignore_index=True)
    skew, kind = (clients[c].to_numpy()[log.user_id] for c in ("skew", "kind"))
    shown = log.second.to_numpy() + skew
    offset = utc_offset(shown, users.time_zone.to_numpy()[log.user_id])
    offset = np.where(kind == "utc", 0, offset)
    log["client_time"] = to_time(shown + offset)
    log["utc_offset"] = pd.array(offset // 60, dtype="Int16")
    log.loc[kind == "old", "utc_offset"] = pd.NA
    session = log.session_id.to_numpy()
    late = rng.random(session.max() + 1) < OFFLINE
    wait = np.exp(rng.uniform(np.log(600), np.log(40_000), session.max() + 1))
    held = np.where(late, wait, 0)[session]
    second = log.second.to_numpy()
    last = log.groupby("session_id").second.transform("max").to_numpy()
    sent = np.where(held > 0, last + held, second)
    log["received"] = (sent + 0.2 + 1.5 * rng.exponential(size=len(log))).astype(int)
    again = log[rng.random(len(log)) < RETRIED].copy()
    again["received"] += 5 + (60 * rng.exponential(size=len(again))).astype(int)
    copy = log[rng.random(len(log)) < COPIED]
    log = pd.concat([log, again, copy], ignore_index=True)
    log = log.sort_values(["received", "event_id"], kind="stable", ignore_index=True)
    log["received"] = to_time(log.received)
    names = ["received", "event_id", "session_id", "user_id", "item_id", "event"]
    return log[[*names, "position", "client_time", "utc_offset"]]


def make_bots(rng):
    """Crawl the catalog: a few days at a time, at a steady rate, one view after another."""
    tables = []
    for number in range(NUM_BOTS):
        rate = rng.uniform(*BOT_RATE)
        begin = rng.uniform(0, DAYS - 1) * DAY
        length = int(rate * rng.uniform(4, 14))
        second = begin + np.cumsum(rng.gamma(4, 3600 / rate / 4, length))
        item = (rng.integers(NUM_ITEMS) + np.arange(length)) % NUM_ITEMS
        session = 900_000 + 100 * number + np.arange(length) // 500
        table = pd.DataFrame(
            {"user_id": NUM_USERS + number, "item_id": item, "session_id": session}
        ).astype("int32")
        table["position"], table["event"] = np.int32(0), "view"
        table["second"] = second.astype(np.int64)
        table["event_id"] = number_events(table.session_id.to_numpy())
        tables.append(table[table.second < DAYS * DAY])
    return pd.concat(tables, ignore_index=True)


def write_shop(shop, folder):
    """Write the tables as Parquet and the truth as NPZ."""
    folder.mkdir(parents=True, exist_ok=True)
    options = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 15"
    options += ", PARQUET_VERSION v2, ROW_GROUP_SIZE 500000"
    with duckdb.connect(config={"threads": 1}) as connection:
        for name in ("users", "items", "events", "lists"):
            connection.register("frame", shop[name])
            path = folder / f"{name}.parquet"
            connection.execute(f"COPY (SELECT * FROM frame) TO '{path}' ({options})")
            connection.unregister("frame")
    np.savez_compressed(folder / "truth.npz", **shop["truth"])


if __name__ == "__main__":
    write_shop(make_shop(), Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
