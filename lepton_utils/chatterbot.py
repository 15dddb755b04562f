"""The corpus of the program ChatterBot: what is said, and what may follow.

The table of the data sets is in `lepton_utils.catalog`. Taught in
chapters/language/08_dialogue.
"""

import re
import unicodedata
import zipfile

import numpy as np

from lepton_utils.corpora import find_member, store

FOLDER = "chatterbot_corpus"


def read_pairs(folder):
    """Read the local form: questions and answers, arrays of strings, a pair a row.

    A pair is the first two lines of a conversation; a pair that differs from an earlier
    one in signs, case or width alone is left out.

    Raises:
        ModuleNotFoundError: if PyYAML is not installed.
        ValueError: if a file is not what is expected.
    """
    pairs = {}
    for name in FILES:
        language, _, topic = name.partition("/")
        text = (folder / FOLDER / f"{name}.yml").read_text("utf8")
        for lines in _conversations(text, topic):
            pair = tuple(" ".join(line.split()) for line in lines[:2])
            pairs.setdefault((language, *map(plain, pair)), pair)
    questions, answers = zip(*pairs.values(), strict=True)
    return {"questions": np.array(questions), "answers": np.array(answers)}


def plain(text):
    """Reduce a text to what it is compared by: NFKC, case folded, words alone."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", text))


def split_answers(arrays):
    """Take three of four answers, by their first questions, for testing."""
    numbers = {}
    for answer in map(plain, arrays["answers"]):
        numbers.setdefault(answer, len(numbers))
    return np.array([numbers[plain(a)] % 4 > 0 for a in arrays["answers"]])


def convert_pairs(archive, folder):
    """Take the files of the two languages out of the archive, as they are."""
    with zipfile.ZipFile(archive) as file:
        for name in FILES:
            content = find_member(file, f"data/{name}.yml")
            store(folder / FOLDER / f"{name}.yml", content)


def _conversations(text, topic):
    """List the conversations of a file that have two lines or more."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("PyYAML is missing: pip install pyyaml") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{topic}.yml is no YAML: {error}") from error
    if not (isinstance(content, dict) and "conversations" in content):
        raise ValueError(f"{topic}.yml must have conversations, got {content!r:.60}")
    found = [c for c in content["conversations"] if isinstance(c, list) and len(c) > 1]
    return [[str(line) for line in lines] for lines in found]


FILES = dict(  # path below chatterbot_corpus, without .yml -> SHA-256
    line.split()
    for line in """\
chinese/ai 2bcf4865be21fe3617cc32bb6f7322e3b976fc367600c28c39f9d666713e26fc
chinese/botprofile 7e036208f4df2a873591c40f973a5c421a1676f9d6d36de2fd8bd3b7fed3f734
chinese/conversations b689bacb7b35467c5340f18b32a363a3affb76747c0e6bba78c17bbd15fafb66
chinese/emotion b49abd01b2102d187dbb0d83ad989115d641d9b6798fa098adde2e7922ea4dff
chinese/food 3d117953affeb6c62ab10ee2d9b58adabcef7b87e42c75afcb738e80b91ef702
chinese/gossip 5417ed7c694d4202e43be49fb7eb40aba81ec95f90115428adeaab6afe391002
chinese/greetings 3ee79c3f1c35af1022bf46049968ab22435044b3bc9a287d72c1733c05322329
chinese/history 1c54656a5c9054ab783f0f7ff903c0f1bf7d3e2b39f0daaeb0054a41ce24ef99
chinese/humor c0b0b7a819d87e22d7ce4af11ffd8545692cfa7632bc66658a537db6ec22dc95
chinese/literature 823ce961391461ddfbde987f766082d39cee02349fd6adc1e686b761eec9e9e1
chinese/money 25b942878b8eed6fa3ef6a3cc3400323c5278dc37ee43c1ae31e818af6284574
chinese/movies c047762ac4df1ce634efd00346c73076b1f66600f1e7fdabd6d96062eb8976df
chinese/politics c7b2b23eeacf1bbeeff5ce9a767b76e6c7df81068850b03d79a48f4064f5df97
chinese/psychology 4ab365ccfc38b078269a75bbc7beb5a88bacad1340ee2cdb008924d8bcb4317e
chinese/science 5491bac9e5a6deaece06138fc235e9387e26bb73730b32afe43b5f28fb79ba15
chinese/sports 315658785fdefc6e15579d4c82971073a39dabe0ff9bf0b95ed10530dd206803
chinese/trivia 46c1f8bd45d3d3e0c7f7644e7a1d9f8f23d2ecdf7f57bcb0709b355eabd114f2
english/ai 620a65787a56641db4a03e1419a7578e813967218cf6721e3ea4ef90844916aa
english/botprofile 1a694c5288f3f8f87d027d2f98dae71d02efa88e28853a6e5d27e6dbce907294
english/coding 0de8d7d7e6095164c59d7b0ef97c402c770c2d7982f485ab372dc6736c1a4e79
english/computers a222c5a432efe4289e6c5edf1c3d99fd26c48df99db0ff893d1d5ab569f5b750
english/conversations 1cf105b5802f377b2dc145f741f7df85629c9ca27e450538165286a75b5e3416
english/emotion 510a018938c1880dd0f67e1ae458e26878c91a570daef5a84fb83713c89f0989
english/food 68eab2497721d03044d520b70c27d8a0d8ba8e505b3265fb3a1ff3e1a64c7124
english/gossip d6f1b1613ed70821fc1c427bdd00395f58b77ff57d76fbe4ab8cb2038cf15c9b
english/greetings 0dd7eb8dcee8e2a38cd1a137bcfbd7f3eb732cddfa1bd396fac5a24b063a4d55
english/health eb88edc5302d688ca096374c7e3f5b9d7cd821f053a17d80204c4acdc20ea4f5
english/history 0ff4beeb6ef9b641dc12e1039a149c6a03eb8f2e183702fad2b0997fcc1d63e3
english/humor d2aa03a63f0e8e054589f642788afbc41b8c76f5d734c50901a9a63b359ea06b
english/literature 9361ff1478273d811259ca307a1e6be23a5e08e776a5bc5d9524fb13deb886f1
english/money 2911d9766625ff5c2feb3d784f2951b2ebd5e9658547efce7568d0282c49274b
english/movies 075ca9d91a527206c635c88bf0353323826a25a6f2057be1bc71888af389f842
english/politics c436d5efedea6f715a8a811423a8edf396097771eb11e43b1f0a43a6aee7c2f0
english/psychology 5047c211d35f715af4fbc3398f111135e99d34afcd0905a661c40bdeb1413a58
english/science 3c259799bba36c67a1601fc264ec01ab051e9e63950734ce1ef644e022081fe7
english/sports 8d1bcc632cad4058e3b8490daa15dcd7c2a51790a7b9140b252600b794590403
english/tech_support 8a87cdf32579c8efdd9c5f3ef166ae9fb76dcf271b958f5e2265b9246b430655
english/trivia 3a9de77e6d82803d1ea3eba48cf6543c884908f4c4f50501fed69f88112994dc
""".splitlines()
)
