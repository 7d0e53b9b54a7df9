"""Renders the expected files of these tests with Jinja2, set up as transformers sets it up.

    python -m pip install jinja2 && python render_expected.py

The environment follows `_compile_jinja_template` in transformers/utils/chat_template_utils.py
(Apache-2.0). The clock stands still at 2024-07-06 05:04:03, as in the tests.
"""

import datetime
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2024, 7, 6, 5, 4, 3)
TOKENS = {"bos_token": "<bos>", "eos_token": "</s>"}


class GenerationTag(jinja2.ext.Extension):
    """The tag `generation`, without the tracking that training needs."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


env = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
)
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = NOW.strftime

conversations = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
for path in sorted(HERE.glob("*.jinja")):
    template = env.from_string(path.read_bytes().decode("utf-8"))
    rendered = {}
    for conversation in conversations:
        for generation in (False, True):
            name = conversation["name"] + (", to be answered" if generation else "")
            try:
                rendered[name] = template.render(
                    messages=conversation["messages"],
                    tools=None,
                    documents=None,
                    add_generation_prompt=generation,
                    **TOKENS,
                    **conversation.get("extra", {}),
                )
            except jinja2.exceptions.TemplateError as error:
                rendered[name] = {"raised": str(error)}
    path.with_suffix(".expected.json").write_text(
        json.dumps(rendered, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n"
    )
print("jinja2", jinja2.__version__)
