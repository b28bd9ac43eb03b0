"""The examples of SparkPost's template language reference, octet by octet; where it leaves a choice, ours."""

from typing import Any, NamedTuple

import pytest

from relay.mail.budget import BadTemplate
from relay.mail.template import TemplateKind, compile_template

CART: dict[str, Any] = {
    "shopping_cart": [{"name": "Jacket", "price": 39.99}, {"name": "Gloves", "price": 5.00}]
}
NESTED: dict[str, Any] = {
    "shopping_cart": [
        {"name": "Jacket", "price": 39.99, "a_nested_array": [{"key": "v2"}, {"key": "v1"}]},
        {"name": "Gloves", "price": 5.00},
    ]
}
OFFERS: dict[str, Any] = {
    "name": "John",
    "offers": ["offer1", "offer3"],
    "dynamic_html": {
        "offer1": '<a href="http://t.com/offer/1?name={{name}}">Premium-brand wirecutters</a>',
        "offer2": '<a href="http://t.com/offer/2?name={{name}}">Corks</a>',
        "offer3": '<a href="http://t.com/offer/3?name={{name}}">Super-effective bug spray</a>',
    },
}
OFFERED = (
    '<li><a href="http://t.com/offer/1?name=John">Premium-brand wirecutters</a></li>\n'
    '{0}<li><a href="http://t.com/offer/3?name=John">Super-effective bug spray</a></li>\n'
)
CHILDREN: dict[str, Any] = {"children": ["Rusty", "Audrey"]}
SIGNED_UP = (
    "{{if signed_up}}\nWelcome\n{{elseif rejected_sign_up}}\nWe won't bug you\n"
    "{{else}}\nPlease sign up\n{{end}}\n"
)
HEAD = "  <tr>\n    <th>Name</th>\n    <th>Price</th>\n  </tr>\n"
TABLE = f"""{{{{ if not empty(shopping_cart) }}}}
<table>
{HEAD}{{{{ each shopping_cart }}}}
  <tr>
    <td>{{{{loop_var.name}}}}</td>
    <td>${{{{loop_var.price}}}}</td>
  </tr>
{{{{ end }}}}
</table>
{{{{ else }}}}
<b>Buy something!</b>
{{{{ end }}}}
"""
ROWS = "".join(
    f"  <tr>\n    <td>{name}</td>\n    <td>${price}</td>\n  </tr>\n"
    for name, price in (("Jacket", "39.99"), ("Gloves", "5"))
)
AMP_CART = """<amp-list src="https://ampbyexample.com/json/cart.json" layout="fixed-height" height="80">
    <template type="amp-mustache">
      <div id="cart">
        Cart items for {{sparkpost_name}}:<br>
        {{#cart_items}}
        <div class="cart-item">
            <span>{{name}}</span>
            <span>{{price}}</span>
          </div>
        {{/cart_items}}
        {{^cart_items}}
          There are no featured products available. Please check back again later.
        {{/cart_items}}
      </div>
    </template>
  </amp-list>
"""


class Example(NamedTuple):
    """A template with values, and what it shows."""

    name: str
    text: str
    data: dict[str, Any]
    shown: str
    kind: TemplateKind = TemplateKind.HTML


EXAMPLES = (
    Example("the nearest value", "Hello, {{city}}!", {"city": "New York"}, "Hello, New York!"),
    Example(
        "white space in braces",
        "{{ value }}\n{{value}}\n{{  value   }}\n",
        {"value": "Hello 👋"},
        "Hello 👋\nHello 👋\nHello 👋\n",
    ),
    Example(
        "missing and null",
        "* {{name}}\n* {{age}}\n* {{job}}\n* {{location}}\n",
        {"name": "Jane", "age": None, "job": "Software Engineer"},
        "* Jane\n* \n* Software Engineer\n* \n",
    ),
    Example("default", "Hello {{ name or 'Customer' }}\n", {"name": None}, "Hello Customer\n"),
    Example(
        "paths",
        "Street: {{address.street}}\nCity: {{address['city']}}\nDynamic: {{address[part]}}\n",
        {"address": {"street": "Howard Street", "city": "San Francisco"}, "part": "street"},
        "Street: Howard Street\nCity: San Francisco\nDynamic: Howard Street\n",
    ),
    Example(
        "escaped in HTML",
        "Escaped: {{custom_html}}\nUnescaped: {{{custom_html}}}\n",
        {"custom_html": "<b>Hello, World</b>"},
        "Escaped: &lt;b&gt;Hello, World&lt;&#x2F;b&gt;\nUnescaped: <b>Hello, World</b>\n",
    ),
    Example(
        "escaped in AMP HTML",
        "{{custom_html}}{{{custom_html}}}",
        {"custom_html": "<b>"},
        "&lt;b&gt;<b>",
        TemplateKind.AMP,
    ),
    Example("as it is in a text", "{{custom_html}}", {"custom_html": "</b>"}, "</b>", TemplateKind.TEXT),
    Example(
        "statements on their own lines",
        'Start of template\n{{ if state == "MD" }}\nMaryland\n{{ end }}\nEnd of template\n',
        {"state": "MD"},
        "Start of template\nMaryland\nEnd of template\n",
    ),
    Example(
        "what follows an end goes on",
        '{{ if city == "Baltimore" }}\nBaltimore\n{{ end }}, Maryland\n',
        {"city": "Baltimore"},
        "Baltimore, Maryland\n",
    ),
    Example(
        "what comes behind its line does not",
        '{{ if state == "Baltimore" }}\nBaltimore\n{{ end }}\nMaryland\n',
        {"state": "Baltimore"},
        "Baltimore\nMaryland\n",
    ),
    Example("if", "{{if signed_up}}\nWelcome\n{{end}}\n", {"signed_up": True}, "Welcome\n"),
    Example("if false", "{{if signed_up}}\nWelcome\n{{end}}\n", {"signed_up": False}, ""),
    Example("if null", "{{if signed_up}}\nWelcome\n{{end}}\n", {"signed_up": None}, ""),
    Example("if with then", "{{if signed_up then}}\nWelcome\n{{end}}\n", {"signed_up": True}, "Welcome\n"),
    Example("the first of several", SIGNED_UP, {"signed_up": 1, "rejected_sign_up": 1}, "Welcome\n"),
    Example("elseif", SIGNED_UP, {"rejected_sign_up": True}, "We won't bug you\n"),
    Example("else", SIGNED_UP, {}, "Please sign up\n"),
    Example(
        "not",
        "{{if not signed_up}}\nDon't forget to sign up!\n{{end}}\n",
        {"signed_up": False},
        "Don't forget to sign up!\n",
    ),
    Example(
        "relations",
        "{{if age > 30}}\ndo something\n{{else}}\ndo something else\n{{end}}\n"
        '{{if address.state == "MD"}}\ndo something\n{{end}}\n',
        {"age": 30, "address": {"state": "MD"}},
        "do something else\ndo something\n",
    ),
    Example(
        "several conditions",
        '{{if age > 30 and address.state == "MD"}}\ndo something\n{{end}}\n',
        {"age": 31, "address": {"state": "MD"}},
        "do something\n",
    ),
    Example("length", "Number of states: {{#states}}\n", {"states": ["MD", "CA"]}, "Number of states: 2\n"),
    Example(
        "arithmetic",
        "Your discounted price is ${{price - 5}}.\n",
        {"price": 15},
        "Your discounted price is $10.\n",
    ),
    Example(
        "each",
        "{{ each children }}\nYou have a child named {{loop_var}}\n{{ end }}\n",
        CHILDREN,
        "You have a child named Rusty\nYou have a child named Audrey\n",
    ),
    Example("each of nothing", "{{ each children }}\n{{loop_var}}\n{{ end }}\n", {"children": []}, ""),
    Example("each of null", "{{ each children }}\n{{loop_var}}\n{{ end }}\n", {"children": None}, ""),
    Example("the index", "{{each children}}{{loop_index}}{{loop_var}} {{end}}", CHILDREN, "1Rusty 2Audrey "),
    Example(
        "each of objects",
        "Your shopping cart has items in it:\n{{each shopping_cart}}\n"
        "Item: {{loop_var.name}}, Price: {{loop_var.price}}\n{{end}}\n",
        CART,
        "Your shopping cart has items in it:\nItem: Jacket, Price: 39.99\nItem: Gloves, Price: 5\n",
    ),
    Example(
        "nested loops",
        "---\n{{each shopping_cart}}\nItem: {{loop_vars.shopping_cart.name}}\n"
        "Price: {{loop_vars.shopping_cart.price}}\nThis item has the following nested values:\n"
        "{{each loop_vars.shopping_cart.a_nested_array}}\n"
        "  Nested value: {{loop_vars.a_nested_array.key}}\n{{end}}\n---\n{{end}}\n",
        NESTED,
        "---\nItem: Jacket\nPrice: 39.99\nThis item has the following nested values:\n"
        "  Nested value: v2\n  Nested value: v1\n---\n"
        "Item: Gloves\nPrice: 5\nThis item has the following nested values:\n---\n",
    ),
    Example(
        "items by number",
        "You have children named {{ children[1] }} and {{ children[2] }}.",
        CHILDREN,
        "You have children named Rusty and Audrey.",
    ),
    Example(
        "an item's member",
        "The first item in your shopping cart is {{ shopping_cart[1].name }}.",
        CART,
        "The first item in your shopping cart is Jacket.",
    ),
    Example(
        "links in conditions",
        "{{if host}}\nhttps://{{{host}}}/\n{{else}}\nhttps://www.sparkpost.com/\n{{end}}\n",
        {"host": "b.example/c"},
        "https://b.example/c/\n",
    ),
    Example(
        "values in links",
        "Personalized link:\n"
        '<a href="https://company.com/dailydeals?user={{user}}&offercode={{offercode}}">Go!</a>\n',
        {"user": "john", "offercode": "Daily Deal!"},
        "Personalized link:\n"
        '<a href="https://company.com/dailydeals?user=john&offercode=Daily%20Deal%21">Go!</a>\n',
    ),
    Example(
        "parts of links in triple braces",
        '<a href="https://{{{link}}}">click me</a>\n'
        '<a href="http://www.company.com/{{{the_entire_suffix}}}">Go</a>\n',
        {"link": "www.company.com/groups", "the_entire_suffix": "groups/join?user=clark"},
        '<a href="https://www.company.com/groups">click me</a>\n'
        '<a href="http://www.company.com/groups/join?user=clark">Go</a>\n',
    ),
    Example("empty", TABLE, CART, f"<table>\n{HEAD}{ROWS}</table>\n"),
    Example("empty of nothing", TABLE, {"shopping_cart": []}, "<b>Buy something!</b>\n"),
    Example("a brace macro", "Here is a curly: {{ opening_double_curly() }}\n", {}, "Here is a curly: {{\n"),
    Example(
        "all brace macros",
        "{{opening_single_curly()}}{{closing_single_curly()}} {{opening_double_curly()}}"
        "{{closing_double_curly()}} {{opening_triple_curly()}}{{closing_triple_curly()}}",
        {},
        "{} {{}} {{{}}}",
    ),
    Example(
        "templates of AMP",
        AMP_CART,
        {"sparkpost_name": "Ann", "name": "no", "price": 1, "cart_items": [1]},
        AMP_CART.replace("{{sparkpost_name}}", "Ann"),
        TemplateKind.AMP,
    ),
    Example(
        "dynamic content",
        "<body>\n<p>Insert a chunk of html:</p>\n"
        "{{ render_dynamic_content(dynamic_html.my_html_chunk) }}\n</body>\n",
        {
            "dynamic_html": {
                "my_html_chunk": '<p><a href="http://www.example.com?q={{username}}">Click here</a></p>'
            },
            "username": "foo",
        },
        "<body>\n<p>Insert a chunk of html:</p>\n"
        '<p><a href="http://www.example.com?q=foo">Click here</a></p>\n</body>\n',
    ),
    Example(
        "dynamic content in triple braces",
        "{{{ render_dynamic_content(dynamic_plain.x) }}}",
        {"dynamic_plain": {"x": "<{{y}}>"}, "y": "&"},
        "<&>",
        TemplateKind.TEXT,
    ),
    Example(
        "dynamic content of AMP",
        "Attempting to insert a chunk of amp html:\n"
        "{{ render_dynamic_content(dynamic_amp_html.my_amp_html_chunk) }}\n",
        {
            "dynamic_amp_html": {
                "my_amp_html_chunk": '<amp-img width="30" src="https://www.example.com?u={{username}}">'
            },
            "username": "a b",
        },
        "Attempting to insert a chunk of amp html:\n"
        '<amp-img width="30" src="https://www.example.com?u=a%20b">\n',
        TemplateKind.AMP,
    ),
    Example(
        "dynamic content in a loop",
        "<h3>Today's special offers</h3>\n<ul>\n{{each offers}}\n"
        "    <li>{{render_dynamic_content(dynamic_html[loop_var])}}</li>\n{{end}}\n</ul>\n",
        OFFERS,
        f"<h3>Today's special offers</h3>\n<ul>\n    {OFFERED.format('    ')}</ul>\n",
    ),
    Example(
        "dynamic content in a loop of AMP",
        "<p>Today's special offers</p><ul>\n{{each offers}}\n"
        "<li>{{render_dynamic_content(dynamic_html[loop_var])}}</li>\n{{end}}\n</ul></body></html>",
        OFFERS,
        f"<p>Today's special offers</p><ul>\n{OFFERED.format('')}</ul></body></html>",
        TemplateKind.AMP,
    ),
)
CHOICES = (
    Example("white space before text stays", "a\n{{if x}} b{{end}} c\n", {"x": 1}, "a\n b c\n"),
    Example("of other kinds neither equal nor in order", "{{x == '1'}}{{x < '2'}}", {"x": 1}, "falsefalse"),
    Example(
        "a condition of an empty text, or of 0", "{{if x}}x{{end}}{{if y}}y{{end}}", {"x": "", "y": 0}, "xy"
    ),
    Example("each of null within a loop", "{{each a}}{{each none}}x{{end}}y{{end}}", {"a": [1]}, "y"),
    Example("a keyword of other languages is a name", "{{for}}{{while}}{{local}}", {"for": "4"}, "4"),
    Example(
        "in templates of AMP: loops and macros are ours",
        "{{each a}}<template type=amp-mustache>{{loop_var.n}}{{n}}{{{n}}}{{ opening_double_curly() }}"
        "</template>{{n}}{{end}}",
        {"a": [{"n": 1}, {"n": 2}], "n": "N"},
        "<template type=amp-mustache>1{{n}}{{{n}}}{{</template>N"
        "<template type=amp-mustache>2{{n}}{{{n}}}{{</template>N",
        TemplateKind.AMP,
    ),
    Example(
        "in templates of AMP: if, else and end that are ours",
        "<SCRIPT template='Amp-Mustache' type=text/plain>{{if sparkpost_x}}a{{else}}b{{end}}{{if y}}"
        "</SCRIPT>{{y}}<template>{{y}}</template>",
        {"sparkpost_x": None, "y": "Y"},
        "<SCRIPT template='Amp-Mustache' type=text/plain>b{{if y}}</SCRIPT>Y<template>Y</template>",
        TemplateKind.AMP,
    ),
    Example(
        "a template of AMP without an end",
        "{{x}}<template type='amp-mustache'>{{x}}",
        {"x": 1},
        "1<template type='amp-mustache'>{{x}}",
        TemplateKind.AMP,
    ),
    Example(
        "in HTML there are none",
        "<template type='amp-mustache'>{{x}}",
        {"x": 1},
        "<template type='amp-mustache'>1",
    ),
)


@pytest.mark.parametrize("example", EXAMPLES + CHOICES, ids=lambda example: str(example.name))
def test_an_example_shows_what_is_printed_beside_it(example: Example) -> None:
    assert compile_template(example.text, example.kind).render(example.data) == example.shown


@pytest.mark.parametrize("kind", [TemplateKind.TEXT, TemplateKind.HTML, TemplateKind.AMP])
@pytest.mark.parametrize("text", ['{{ render_snippet( "ourfooter" ) }}', "{{{render_snippet(banner_id)}}}"])
def test_there_are_no_snippets(text: str, kind: TemplateKind) -> None:
    with pytest.raises(BadTemplate, match="line 3: unknown macro 'render_snippet'"):
        compile_template(f"<html>\n<p>Our body content</p>\n{text}\n</html>\n", kind)


def test_what_is_wrong_in_a_template_of_amp_is_told_with_its_line() -> None:
    text = "<template type='amp-mustache'>\n{{/x}}\n{{sparkpost_a b}}</template>"
    with pytest.raises(BadTemplate, match="line 3: syntax error near 'b'"):
        compile_template(text, TemplateKind.AMP)
