# Snippets for make_jinja_golden.py: each is rendered with VARS. One expression or statement, one point.
EXPRESSIONS = r'''
1 + 2 * 3
(1 + 2) * 3
2 ** 3 ** 2
-2 ** 2
2 ** -1
7 / 2
6 / 2
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
7.5 % 2
-7.5 // 2
1 / 0
1 % 0
1 + 'a'
'a' + 1
'a' * 3
3 * 'ab'
'a' * -1
[1] * 2
[1, 2] + [3]
(1, 2) + (3,)
[1] + (2,)
1 ~ 2 ~ 'x' ~ none ~ true
'a' ~ 1 + 2
not true
not not 1
not 1 == 2
1 if true else 2
1 if false
(1 if false) is defined
1 if false else 2 if false else 3
true and 5
0 or 'x'
0 or e or nil
1 and 0 and 2
nil or false or []
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2 == 2
1 == 1.0
true == 1
'1' == 1
1 != 2
1 < 'a'
nil < 1
[1, 2] < [1, 3]
'a' < 'b'
'Z' < 'a'
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1.0}
1 in [1, 2]
'1' in [1, 2]
'b' in d
'ell' in s
1 in s
3 not in l
not 3 in l
nil in nil
'x' in missing
missing == missing2
missing == nil
missing == ''
missing
missing.x
missing['x']
missing()
missing + 1
missing ~ 'x'
missing|length
missing|list
missing|join(',')
missing|upper
missing|trim
missing|int
missing|tojson
missing|first
missing|default('d')
missing is defined
missing is undefined
missing is none
missing is iterable
missing is string
missing is sequence
nil.x
nil.x.y
nil['x']
nil|length
nil|upper
nil|trim
n.x
n[0]
s.x
s['x']
d.b
d['b']
d.missing
d.missing.x
d.items
d['items']
d.items()
d.keys()
d.values()
d.keys()|list
d['keys']
d.get('b')
d.get('zz')
d.get('zz', 9)
d.get()
d|items|list
d|length
d|list
d|first
d|last
nest.x.y[1].z
nest['x'].y.0
nest.x.y[-1]['z']
l[0]
l[-1]
l[5]
l['a']
l[1.0]
l[true]
l[0:2]
l[:2]
l[1:]
l[::-1]
l[-2:]
l[:-1]
l[::2]
l[5:]
l[2:0:-1]
l[::0]
l['a':]
s[0]
s[-1]
s[99]
s[1:3]
s[::-1]
s[-3:]
u[2]
u[6:8]
u[::-1]
u[-2]
u|length
nil[1:]
d[1:]
(1, 2, 3)[1]
(1,)
()
[]
{}
[1, 'a', none, true, 2.0]
{'a': 1, 2: 'b', none: [], (1, 2): {}}
{[1]: 2}
'it\'s'
["it's", 'say "hi"', 'both \' and "']
['a\nb\tc\\', '\x00\x7f\u00e9\u200b']
"\u0041\x42\103\n"
'a' 'b' "c"
'\d\q'
'tab\there'
1_000
0x1F
1e3
1.5e-7
1e16
1e15
123456789012345678
0.1 + 0.2
1e22
1.0
100000000000000000000.0
-0.0
3.14
f
big
big|tojson
big|string
n
nil
t
l
d
nest
mixed
u
[u]
range(3)|list
range(2, 8, 3)|list
range(5, 0, -2)|list
range(0)|list
range(3)[1]
range(3)|length
range(3) == range(3)
range('a')
range(1000000)
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([('a', 1)])
namespace(a=1).a
namespace(a=1).b
namespace(a=1)['a']
namespace(_x=1)
s.upper()
s.lower()
s.title()
s.capitalize()
s.swapcase
'they\'re bill\'s-x 3rd'.title()
'they\'re bill\'s-x 3rd'|title
'hello (world) [x] <y> {z} é'|title
'ÉCOLE ñandú'|lower
'école'|upper
'école'.capitalize()
s.strip('Hd')
ws.strip()
ws.lstrip()
ws.rstrip()
'xxaxx'.strip('x')
'xyaxy'.lstrip('yx')
'\u3000a\u00a0'.strip()
'\u3000a\u00a0'|trim
ws|trim
'--a--'|trim('-')
5|trim
s.split()
s.split(' ')
s.split('o')
s.split('o', 1)
s.split(maxsplit=1)
' a  b c '.split()
' a  b c '.split(none, 1)
' a  b c '.split(' ')
s.split('')
s.split(1)
'a,b,c'.rsplit(',', 1)
' a b  c '.rsplit(none, 1)
'aaa'.split('aa')
'aaaa'.rsplit('aa')
''.split()
''.split(',')
lines.splitlines()
lines.splitlines(true)
s.startswith('Hell')
s.startswith(('x', 'H'))
s.startswith(['x'])
s.endswith('ld')
s.endswith('')
s.find('o')
s.find('o', 5)
s.find('zz')
u.find('!')
s.rfind('o')
s.index('zz')
s.count('l')
s.count('')
s.replace('o', '0')
s.replace('o', '0', 1)
s.replace('', '-')
s|replace('l', 'L')
s|replace('l', 'L', 2)
5|replace(5, 6)
s.join(['a', 'b'])
','.join([1])
','.join('abc')
s.partition(' ')
s.partition('x')
s.rpartition('o')
s.removeprefix('Hello ')
s.removesuffix('ld')
s.isalpha()
'abc'.isalpha()
'12'.isdigit()
'a1'.isalnum()
' \t'.isspace()
''.isspace()
'ab1'.islower()
'AB1'.isupper()
'1'.islower()
'7'.zfill(3)
'-7'.zfill(4)
'a'.ljust(3, '.') ~ 'b'.rjust(3)
'ab'.center(5, '*')
'ab'.center(4)
'abc'.center(6, '*')
'ab'|center(7)
s.format
'{} and {}'.format(1, 'b')
'{1}{0}'.format('a', 'b')
'{x} {{}}'.format(x=3)
'{}'.format()
'%s is %d' % ('a', 3)
'%s' % 5
'%5.2f|%-5s|%05d|%x' % (3.14159, 'ab', 42, 255)
'%s %s' % 'a'
'%s' % ('a', 'b')
'100%%' % ()
'%r' % 'a'
'%s, %s!'|format('a', 2)
'%d' % 'a'
s.nosuch()
l.append(4)
l.append is defined
l.index(1)
l.index(9)
l.count(1)
d.update({'x': 1})
d.pop('a')
s|upper
s|lower
s|capitalize
s|length
s|count
s|list
s|first
s|last
s|reverse
l|reverse|list
l|reverse
l|sort
l|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
mixed|sort
people|sort(attribute='age')|map(attribute='name')|list
people|sort(attribute='age', reverse=true)|map(attribute='name')|join
l|sum
people|sum(attribute='age')
l|sum(start=10)
l|min
l|max
words|min
words|max(case_sensitive=true)
people|max(attribute='age')
[]|max
words|unique|list
l|join
l|join(', ')
mixed|join('|')
people|join(', ', attribute='name')
people|map(attribute='name')|list
people|map(attribute='nope')|list
people|map(attribute='nope', default='?')|list
words|map('upper')|list
words|map('replace', 'p', 'P')|join(' ')
words|map('nosuch')|list
words|map|list
nil|select|list
0|map('upper')|list
5|map('upper')|list
nil|map(attribute='x')|join
words|map()|list
mixed|select|list
mixed|reject|list
l|select('odd')|list
l|select('gt', 1)|list
l|select('>', 1)|list
l|reject('equalto', 1)|list
mixed|select('string')|list
people|selectattr('on')|map(attribute='name')|list
people|selectattr('on', 'defined')|map(attribute='name')|list
people|rejectattr('on')|map(attribute='name')|list
people|selectattr('age', 'eq', 30)|map(attribute='name')|join(',')
people|selectattr('age', '==', 30)|first
people|selectattr('name', 'in', ['Ann', 'Cy'])|list|length
people|selectattr('name')|length
people|selectattr
people|selectattr('x', 'nosuch')|list
l|select('odd')|first
l|select('odd')|last
nest|tojson
d|tojson
d|tojson(indent=2)
nest|tojson(indent=4)
nest|tojson(2)
nest|tojson(indent='--')
[]|tojson(indent=2)
[[], {}]|tojson(indent=1)
d|tojson(sort_keys=true)
d|tojson(separators=(',', ':'))
mixed|tojson
u|tojson
u|tojson(ensure_ascii=true)
html|tojson
"\x01\x1f\x7f\u2028\"\\/\b\f"|tojson
1.0|tojson
1e100|tojson
(1, 2)|tojson
{1: 2, none: 3, true: 4, 2.5: 5}|tojson
range(2)|tojson
d.items()|tojson
d|tojson(nosuch=1)
d|dictsort
d|dictsort(by='value')
{'B': 1, 'a': 2}|dictsort
{'B': 1, 'a': 2}|dictsort(true)
{'a': 2, 'b': 1}|dictsort(by='value', reverse=true)
'42'|int
'42.7'|int
'x'|int
'x'|int(5)
'0x1A'|int(0, 16)
' 7 '|int
'1_000'|int
nil|int
[]|int(3)
3.9|int
-3.9|int
true|int
'1e3'|int
'inf'|int(4)
'2.5'|float
'x'|float
'x'|float(1.5)
3|float
nil|float
'1e400'|float
2.5|round
3.5|round
2.675|round(2)
2.1|round(0, 'ceil')
2.19|round(1, 'floor')
42|round
2.5|round|int
-3|abs
-2.5|abs
'a'|abs
nil|default('x')
nil|default('x', true)
''|default('x', true)
''|d('x')
0|default(1, boolean=true)
missing|default
missing.x|default('y')
lines|indent
lines|indent(2, true)
lines|indent('> ', first=true, blank=true)
5|indent
s|string
5|string ~ 1
html|safe
(html|safe) + html
html + (html|safe) + 'a' + html
((html|safe) + html)|length
'a' ~ html|safe
html|safe|length
5|safe
l is iterable
5 is iterable
s is iterable
s is string
5 is string
5 is number
true is number
5.0 is float
5 is integer
true is integer
true is boolean
nil is none
nil is not none
d is mapping
l is mapping
l is sequence
s is sequence
d is sequence
5 is sequence
d.items() is sequence
d.items() is iterable
t is true
t is false
1 is true
3 is odd
3 is even
9 is divisibleby 3
9 is divisibleby(2)
3 is eq 3
3 is eq(3)
3 is equalto 3.0
3 is ne 4
3 is lt 4
3 is in [3]
3 is in(l)
'a' is in 'abc'
s is lower
'abc' is lower
'ABC' is upper
nil is sameas none
true is sameas true
range is callable
s.upper is callable
s is callable
'upper' is filter
'nosuch' is filter
'defined' is test
3 is nosuch
3|nosuch
3 is not odd
not 3 is odd
3 is odd and 4 is even
3 is odd or missing.x
d is defined and d.b == 1
n is number and n > 5
-n
+n
--n
-t
-s
- f
s.__class__
s.__class__.x
d['__class__']
l[-4:2]
l[n]
l|first|string|length
(l|length > 2) and 'many' or 'few'
l|length > 2 and 'many' or 'few'
-1|abs
n|string|length
a.b.c
raise_exception('no')
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y, %A %B %H:%M:%S %j %y')
strftime_now('%-d')
lipsum is defined and false
loop
caller
self is string and false
'a' if missing else 'b'
'a' if missing.x else 'b'
[1, 2,]
{'a': 1,}
(1, 2,)
[1 2]
{'a' 1}
1 +
* 2
'open
a b
l[
l[0
f(
{{ 1 }
1 is
1 is not
1 |
d.
d.1.x
5.5.x
l.0
l.9
true and false or true
true or false and false
not true or true
1 + 1 == 2 and 'ok'
'a' ~ 'b' == 'ab'
1 ~ 2 * 3
'x' in 'xyz' and 'y' not in 'abc'
1 in [1] == true
1, 2
1,
(l|sort)[0]
l|sort|first
[l, d]|map('length')|list
[[1, 2], [3]]|map('join', '-')|list
[[1, 2], [3]]|sum(start=[])
words|map('first')|join
words|map('length')|sum
people|map(attribute='name')|map('upper')|select('eq', 'ANN')|list
people[0].name.upper()[0:2].lower()
'%.3s|' % 'abcdef'
'é'|length
'日本'[1]
'日本語'[::-1]
'日本' * 2
'日本'.find('本')
'日本語'.replace('本', '-')
'日本語'.split('本')
'a😀b'|list
'a😀b'[1:]|length
not missing
missing and 1
[missing]
[missing]|length
{'a': missing}
s ~ missing ~ s
s + missing
s.upper()|lower|title|trim
dict(a=1).a
dict(**{'x': 5}).x
dict(*[[('k', 'v')]])
range(*[1, 4])|list
s.replace(*['l', 'L'])
s.split(sep='o')
s.split(sep='o', sep='l')
s.upper(1)
s|upper(1)
s|replace('a')
s|replace(old='l', new='_')
'a'.join(l|map('string'))
none|string
none ~ ''
[none, true]|join(',')
1.0 ~ ''
1e5 ~ ''
true ~ ''
(true, none) ~ ''
'abc'|map('upper')|join
d|map('upper')|join
d|join('-')
d.items()|list|sort|first
d.values()|list|length
d.values()|first
'A-b c'.lower().replace('-', '_').split()|last
1 if l else 2
1 if [] else 2
1 if {} else 2
1 if '' else 2
1 if 0.0 else 2
1 if '0' else 2
1 if d.items() else 2
1 if range(0) else 2
1 if (l|select('gt', 9)) else 2
1 if (l|select('gt', 9)|list) else 2
namespace(a=1) is mapping
namespace() is defined
namespace(d).b
namespace(a=1)
'ab' < 'abc'
[[2, 'b'], [1, 'c']]|sort
9007199254740993 == 9007199254740992.0
9223372036854775807
'٣'.isdigit()
'\N{DASH}'
"\ud800"
'a\
b'
'''.strip("\n").split("\n")
EXPRESSIONS = [x for x in EXPRESSIONS if x != "'a\\" and x != "b'"]

STATEMENTS = [
    # white space
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n  {% if true %}  \n  b\n  {% endif %}  \nc",
    "a {% if true %} b {% endif %} c",
    "a {%- if true -%} b {%- endif -%} c",
    "a \n {{- 1 -}} \n b",
    "a \n {{ 1 }} \n b",
    "x\n  {{ 1 }}\ny\n",
    "x\n  {# c #}\ny\n",
    "x\n  {#- c -#}\n  y\n",
    "x {# c #} y",
    "x\n  {%+ if true %}\n y {%+ endif %}\n z",
    "x {% if true +%}\n y {% endif +%}\n z",
    "  {% if true %}x{% endif %}",
    "{% if true %}\n\nx{% endif %}\n\n",
    "{% if true %}\r\nx\r\n{% endif %}\r\ny\rz\r\n",
    "a\n\n",
    "a\n",
    "\n",
    "",
    "{{ '\n' }}\n",
    "{{ 'a\r\nb' }}",
    "a\u00a0{%- if true %}b{% endif %}",
    "\u3000 {%- if true -%} \u2003 b{% endif %}",
    "\t {% if true %}\t x\t {% endif %}\t",
    "{% raw %}{{ x }}{% if %}{# #}{% endraw %}",
    "a\n  {% raw %}\n {{ x }} \n  {% endraw %}\n b",
    "a {%- raw -%} \n x \n {%- endraw -%} \n b",
    "{% raw %}x",
    "{# open",
    "{#-#}x",
    "{##}x",
    "{#+#}x",
    "{{ 'x' }",
    "{{ 'x' ",
    "{% if true",
    "{% if true %}",
    "{{ }}",
    "{% %}",
    "{% nosuch %}",
    "{% endif %}",
    "{% if true %}{% endfor %}",
    "}} %} #}",
    "{ { x } }",
    "{{ {'a': {'b': 1}}.a.b }}",
    "{{ {'a': 1}}}",
    "{{ '}}' }}{{ \"%}\" }}",
    "{{ (1 }}",
    "{{ 1) }}",
    "{{ [1) }}",
    "{{ 1 ? 2 }}",
    "{{ 1 $ 2 }}",
    "{{1}}{{-1}}{{- 1}}{{1-}}",
    "{{ 1;2 }}",
    # if
    "{% if n > 5 %}big{% elif n > 3 %}mid{% else %}small{% endif %}",
    "{% if e %}a{% elif n == 7 %}b{% else %}c{% endif %}",
    "{% if missing %}a{% else %}b{% endif %}",
    "{% if missing.x %}a{% endif %}",
    "{% if false %}{{ x|nosuch }}{% endif %}ok",
    "{% if true %}{{ x|nosuch }}{% endif %}ok",
    "{% if false %}{% for x in [] %}{{ x|nosuch }}{% endfor %}{% endif %}ok",
    "{% for x in [] %}{{ x|nosuch }}{% endfor %}ok",
    "{% for x in [] %}{% if x is nosuch %}{% endif %}{% endfor %}ok",
    "{% if 1, 2 %}t{% endif %}",
    "{% if %}{% endif %}",
    "{% else %}",
    "{% if true %}a{% else %}b{% else %}c{% endif %}",
    # for
    "{% for x in l %}{{ x }},{% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in l %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in nil %}{{ x }}{% endfor %}",
    "{% for x in 5 %}{{ x }}{% endfor %}",
    "{% for x in 'a\u65e5b' %}[{{ x }}]{% endfor %}",
    "{% for k in d %}{{ k }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }}={{ v }}{% if not loop.last %};{% endif %}{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in ['xy', 'zw'] %}{{ a }}-{{ b }} {% endfor %}",
    "{% for a, b in [1] %}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }} {% endfor %}",
    "{% for x in l if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for x in l if x != 1 %}{{ loop.length }}{{ loop.last }}{{ loop.revindex }}{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem.y }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}",
    "{% for x in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for x in l %}{{ loop.nosuch }}|{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in l %}{% set o = loop %}{% for y in l %}{{ o.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{{ loop is defined }}{% for x in l %}{{ loop is defined }}{% endfor %}{{ loop is defined }}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}else{% endfor %}",
    "{% for x in l %}{% continue %}{% else %}else{% endfor %}",
    "{% for x in l %}{% if x == 2 %}{% break %}{% endif %}{% else %}else{% endfor %}",
    "{% break %}",
    "{% macro m() %}{% break %}{% endmacro %}",
    "{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% for x in range(3) %}{{ x }}{% endfor %}",
    "{% for x in l|reverse %}{{ x }}{{ loop.length }}{% endfor %}",
    "{% for x in l|select('odd') %}{{ x }}{{ loop.last }}{% endfor %}",
    "{% set g = l|select('odd') %}{% for x in g %}{{ x }}{% endfor %}|{% for x in g %}{{ x }}{% endfor %}",
    "{% set ns = namespace(seen=0) %}{% for x in l if ns.seen < 2 %}{% set ns.seen = ns.seen + 1 %}{{ x }}{% endfor %}",
    "{% set ns = namespace(seen=0) %}{% for x in l if ns.seen < 2 %}{% set ns.seen = ns.seen + 1 %}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for loop in l %}{% endfor %}",
    "{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% for x, in [[1]] %}{{ x }}{% endfor %}",
    "{% set x, = [1] %}{{ x }}",
    "{% for x in l recursive %}{{ x }}{% endfor %}" if False else "{% for x in %}{% endfor %}",
    "{% for in l %}{% endfor %}",
    "{% for 1 in l %}{% endfor %}",
    "{% for x in l %}",
    "{% for x.y in l %}{% endfor %}",
    "{% for m in people %}{{ m.name }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% for p in people if p.on is defined and p.on %}{{ p.name }}{% endfor %}",
    "{% for x in l: %}{{ x }}{% endfor %}",
    # set and scopes
    "{% set a = 1 %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set (a, b) = (1, 2) %}{{ b }}",
    "{% set a, b = 1 %}",
    "{% set a = 1 %}{% for x in l %}{% set a = x %}{{ a }}{% endfor %}{{ a }}",
    "{% set a = 1 %}{% for x in l %}{{ a }}{% set a = a + 1 %}{{ a }}{% endfor %}",
    "{% for x in l %}{% set b = x %}{% endfor %}{{ b }}",
    "{% if true %}{% set a = 1 %}{% endif %}{{ a }}",
    "{% if false %}{% set n = 1 %}{% endif %}{{ n }}",
    "{% set n = n + 1 %}{{ n }}",
    "{% for x in l %}{% set n = n + x %}{{ n }} {% endfor %}{{ n }}",
    "{% set ns = namespace(a=1) %}{% for x in l %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}",
    "{% set ns = namespace() %}{% set ns.b = [] %}{% set ns.b = ns.b + [1] %}{{ ns.b }}",
    "{% set ns = namespace() %}{% set ns._b = 1 %}",
    "{% set d.x = 1 %}",
    "{% set missing.x = 1 %}",
    "{% set ns = namespace() %}{% set ns['a'] = 1 %}",
    "{% set 1 = 2 %}",
    "{% set true = 2 %}",
    "{% set a %}x{{ n }}{% endset %}[{{ a }}]",
    "{% set a %}\n x \n{% endset %}[{{ a }}]",
    "{% set a | upper %}x{{ s }}{% endset %}{{ a }}",
    "{% set a | trim | replace('x', 'y') %} x {% endset %}[{{ a }}]",
    "{% set a %}{% set q = 5 %}{% endset %}{{ q }}",
    "{% set a %}x",
    "{% set a = %}",
    "{% set %}",
    "{% set a 1 %}",
    "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with a = 1, b = a %}{{ b }}{% endwith %}",
    "{% filter upper %}abc{{ s }}{% endfilter %}",
    "{% filter trim|replace('a', 'b') %} aaa {% endfilter %}",
    "{% filter nosuch %}x{% endfilter %}",
    "{% print 1, 'a' %}",
    "{% set x = 1 %}{% set y = x %}{% set x = 2 %}{{ x }}{{ y }}",
    "{% set messages = [1] %}{{ messages }}",
    "{% set loop = 5 %}{{ loop }}",
    # macro and call
    "{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}{{ m('x') }}{{ m() }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }}",
    "{% macro m(a, b=a) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}",
    "{% macro m(a) %}{{ a }}{{ kwargs }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3, z=4) }}",
    "{% macro m() %}{{ n }}{% set n = 5 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}",
    "{% macro m() %}{{ later }}{% endmacro %}{% set later = 3 %}{{ m() }}",
    "{% macro fact(k) %}{{ k * (fact(k - 1)|int) if k > 1 else 1 }}{% endmacro %}{{ fact(5) }}",
    "{% macro a() %}[{{ b() }}]{% endmacro %}{% macro b() %}b{% endmacro %}{{ a() }}",
    "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{% endfor %}{{ m() }}",
    "{% macro m() %}\n x\n{% endmacro %}[{{ m() }}]",
    "{% macro m() -%}\n x\n{%- endmacro %}[{{ m() }}]",
    "{% macro m() %}x{% endmacro %}{{ m()|upper }}{{ m() ~ 'y' }}{{ m() + 'z' }}",
    "{% macro m(x) %}{{ caller() }}{{ x }}{% endmacro %}{% call m(1) %}body{{ n }}{% endcall %}",
    "{% macro m() %}{{ caller(7) }}{% endmacro %}{% call(q) m() %}got {{ q }}{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% call 5 %}{% endcall %}",
    "{% macro m(a) %}{% for x in a %}{{ x }}{{ loop.last }}{% endfor %}{% endmacro %}{{ m(l) }}{{ m([]) }}",
    "{% macro m() %}{% if true %}{% set q = 1 %}{% endif %}{{ q }}{% endmacro %}{{ m() }}{{ q }}",
    "{% macro m %}{% endmacro %}",
    "{% macro m() %}",
    "{{ m is defined }}{% macro m() %}{% endmacro %}{{ m is defined }}{{ m is callable }}",
    "{% macro m(d) %}{{ d.b }}{% endmacro %}{{ m({'b': 9}) }}{{ d.b }}",
    "{% macro m(a, a2='x' ~ n) %}{{ a2 }}{% endmacro %}{{ m(1) }}",
    "{% macro m(o, k) %}{% for x in o if x not in k %}{{ x }} {% endfor %}{% endmacro %}{{ m(d, ['b']) }}",
    # generation
    "{% generation %}abc{% endgeneration %}",
    "{% generation %}\n abc {{ n }}\n{% endgeneration %}\nx",
    "{% generation %}{% set z = 1 %}{{ z }}{% endgeneration %}{{ z }}",
    "{% for x in l %}{% generation %}{{ loop.index }}{{ x }}{% endgeneration %}{% endfor %}",
    "{% generation %}",
    # others
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{% import 'x' as y %}",
    "{% do l.append(1) %}",
    "{% debug %}",
    "{{ raise_exception('x') }}",
    "{% if false %}{{ raise_exception('x') }}{% endif %}fine",
    "{{ s }}{# {{ x|nosuch }} #}{{ n }}",
    "{% set x = 'a' if n > 5 else 'b' %}{{ x }}",
    "{% set parts = s.split(' ') %}{% for p in parts[::-1] %}{{ p }}{% if not loop.last %} {% endif %}{% endfor %}",
    "{% set content = '</think>a</think> b' %}{{ content.split('</think>')[-1].lstrip() }}|{{ content.split('</think>')|length }}",
    "{{ ('<' ~ s ~ '>')|replace('<', '[') }}",
    "{%set x=1%}{{x}}{%if x==1%}y{%endif%}",
    "{{ s\n|upper\n}}",
    "{{ [\n1,\n2\n] }}",
    "{% for role in ['user', 'assistant'] %}{{ '<|' + role + '|>' }}{% endfor %}",
    "{{ messages }}{{ tools }}{{ documents }}{{ add_generation_prompt }}{{ bos_token }}{{ eos_token is defined }}",
]
SNIPPETS = ["{{ " + x + " }}" for x in EXPRESSIONS] + STATEMENTS
# Fine in jinja2, refused by name here: Python details that no template needs.
REFUSED = ["s.encode()", "n.real", "l[]", "s.isnumeric()", "l|random", "l|pprint", "s|escape", "s|urlize", "l|batch(2)|list",
           "s is sameas s", "range(3)", "(html|safe) * 2", "(html|safe).upper()", "html|safe|upper", "'ß'|upper", "'ΑΣ'|lower", "[1, 2]|groupby(1)", "'%c' % 65",
           "'{:>5}'.format(1)", "9223372036854775807 + 1", "2 ** 64", "cycler('a')", "s.__class__.__name__ ~ l[1, 2]"]
