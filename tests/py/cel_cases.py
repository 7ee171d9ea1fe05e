"""Expressions of CEL that meshcore and Envoy both evaluate: one a line."""

CONSTANT = r"""
1
1 + 2
1u
1.5
1.0
1e10
1e100
0.1
-0.0
1.0/0.0
0.0/0.0
true
null
'a'
'a"b'
b'abc'
b'\xff\x00'
[1,2,'a']
[]
{'a':1,'b':[2]}
{}
{1:2}
duration('1h')
duration('1.5s')
timestamp('2020-01-01T00:00:00Z')
timestamp('2020-01-01T00:00:00.123Z')
nope
1/0
type(1)
int
string
size('abc')
'abc'.size()
1 == 1.0
1 == 1u
1u == 1.0
1 < 1.5
1u < 2
2u > 1.5
1 == 'a'
1 != 'a'
null == null
null == 1
1 == null
[1] == [1]
[1] == [1.0]
[1,'a'] == [1,'b']
{'a':1} == {'a':1.0}
{'a':1} == {'a':2}
'a' < 'b'
b'a' < b'b'
true < false
[1] < [2]
duration('1s') < duration('2s')
timestamp('2020-01-01T00:00:00Z') < timestamp('2021-01-01T00:00:00Z')
0.0/0.0 == 0.0/0.0
0.0/0.0 != 0.0/0.0
9223372036854775807 + 1
9223372036854775807
-9223372036854775808
-9223372036854775807 - 1
9223372036854775807 * 2
-(-9223372036854775807 - 1)
18446744073709551615u
18446744073709551615u + 1u
1u - 2u
7 / 2
-7 / 2
7 % 3
-7 % 3
7u / 2u
7u % 2u
1 / 0
1 % 0
1u / 0u
1.0 / 0.0
1.5 % 1.0
-(1u)
-1.5
- -1
--1
!true
!!true
!1
1 + 1u
1 + 1.0
1 - 1.0
true && false
true || 1/0 == 1
1/0 == 1 || true
false && 1/0 == 1
1/0 == 1 && false
1/0 == 1 && true
1/0 == 1 || false
1 && false
false && 1
true || 'a'
'a' || true
'a' || false
true && 'a'
true ? 1 : 2
false ? 1 : 2
1 ? 1 : 2
true ? 1 : 1/0
(1/0 == 1) ? 1 : 2
'a' + 'b'
[1] + [2]
size([1] + [2])
b'a' + b'b'
size('héllo')
size(b'héllo')
size([1,2])
size({1:2})
size(1)
'héllo'.size()
[1,2].size()
{1:2}.size()
'abc'.matches('a.c')
'abc'.matches('b')
'abc'.matches('^b')
matches('abc', 'b')
'abc'.startsWith('ab')
'abc'.endsWith('bc')
'abc'.contains('b')
'abc'.contains('')
startsWith('abc','a')
int('12')
int('-12')
int('+12')
int(' 12')
int('1x')
int('0x1')
int(1.9)
int(-1.9)
int(1e19)
int(1u)
int(18446744073709551615u)
int(true)
int(timestamp('1970-01-01T00:01:00Z'))
int(duration('1s'))
int(5)
uint('12')
uint('-1')
uint(-1)
uint(1.9)
uint(-0.5)
uint(1)
uint(5u)
uint(1e20)
double('1.5')
double('abc')
double('inf')
double('nan')
double(' 1')
double('1e3')
double(1)
double(1u)
double(1.5)
bytes('abc')
bytes(b'abc')
bytes(1)
bool('true')
bool('false')
bool('True')
bool('TRUE')
bool('1')
bool('t')
bool('yes')
bool(true)
bool(1)
dyn(1)
dyn('a')
type(1) == int
type(1) == type(2)
type(type(1)) == type
type(null) == null_type
type([]) == list
type({}) == map
type(1u) == uint
type(1.0) == double
type(true) == bool
type(duration('1s'))
[1,2,3][0]
[1,2,3][3]
[1,2,3][-1]
[1,2,3][1u]
[1,2,3][1.0]
[1,2,3][1.5]
[1,2,3]['a']
{'a':1}['a']
{'a':1}['b']
{'a':1}.a
{'a':1}.b
{1:'x'}[1]
{1:'x'}[1u]
{1:'x'}[1.0]
{1u:'x'}[1]
{true:'x'}[true]
{1.5:'x'}
{[1]:1}
{null:1}
{'a':1,'a':2}
{1:1,1u:2}
'a' in ['a','b']
'c' in ['a','b']
1 in [1.0]
1 in ['a', 1]
1u in [1]
'a' in {'a':1}
1 in {1:1}
1u in {1:1}
1.0 in {1:1}
1.5 in {1:1}
1 in 1
'a' in 'abc'
has({'a':1}.a)
has({'a':1}.b)
duration('1h30m')
duration('-1h')
duration('1.5h')
duration('100ms')
duration('1us')
duration('1ns')
duration('0')
duration('0s')
duration('1')
duration('1d')
duration('')
duration('inf')
duration('90s')
duration('3600s')
duration('86400s')
duration('0.5s')
duration('1.000000001s')
duration('999ns')
duration('1500ns')
duration('315576000000s')
duration('315576000001s')
duration('1h') + duration('1m')
duration('1h') - duration('2h')
-duration('1h')
duration('1h').getHours()
duration('90m').getHours()
duration('90m').getMinutes()
duration('90m').getSeconds()
duration('1500ms').getMilliseconds()
duration('90s').getMilliseconds()
duration(duration('1s'))
duration(1)
timestamp('2020-02-29T12:34:56.789Z')
timestamp('2020-02-29T12:34:56.789Z').getFullYear()
timestamp('2020-02-29T12:34:56.789Z').getMonth()
timestamp('2020-02-29T12:34:56.789Z').getDate()
timestamp('2020-02-29T12:34:56.789Z').getDayOfMonth()
timestamp('2020-02-29T12:34:56.789Z').getDayOfWeek()
timestamp('2020-02-29T12:34:56.789Z').getDayOfYear()
timestamp('2020-02-29T12:34:56.789Z').getHours()
timestamp('2020-02-29T12:34:56.789Z').getMinutes()
timestamp('2020-02-29T12:34:56.789Z').getSeconds()
timestamp('2020-02-29T12:34:56.789Z').getMilliseconds()
timestamp('2020-02-29T12:34:56.789Z').getHours('+02:00')
timestamp('2020-02-29T12:34:56.789Z').getHours('-02:30')
timestamp('2020-02-29T12:34:56.789Z').getMinutes('-02:30')
timestamp('2020-02-29T12:34:56.789Z').getHours('02:00')
timestamp('2020-02-29T12:34:56.789Z').getHours('UTC')
timestamp('2020-02-29T12:34:56.789Z').getHours('')
timestamp('2020-02-29T12:34:56+02:00')
timestamp('2020-02-29T12:34:56')
timestamp('2020-02-30T12:34:56Z')
timestamp('2020-02-29 12:34:56Z')
timestamp('2020-02-29')
timestamp('2020-02-29T12:34:60Z')
timestamp('0001-01-01T00:00:00Z')
timestamp('0000-01-01T00:00:00Z')
timestamp('9999-12-31T23:59:59Z')
timestamp('10000-01-01T00:00:00Z')
timestamp('2020-02-29T12:34:56.123456789Z')
timestamp('2020-02-29t12:34:56z')
timestamp(1)
timestamp(1.5)
timestamp(timestamp('2020-02-29T12:34:56Z'))
timestamp('2020-01-01T00:00:00Z') + duration('1h')
duration('1h') + timestamp('2020-01-01T00:00:00Z')
timestamp('2020-01-01T00:00:00Z') - duration('1h')
timestamp('2020-01-01T00:00:00Z') - timestamp('2019-01-01T00:00:00Z')
timestamp('9999-12-31T23:59:59Z') + duration('1h')
timestamp('2020-01-01T00:00:00Z') == timestamp('2020-01-01T01:00:00+01:00')
int(timestamp('2020-01-01T00:00:00.9Z'))
int(timestamp('1969-12-31T23:59:59.5Z'))
duration('9223372036s') + duration('9223372036s')
0x10
0xFFu
-0x10
.5
1e3
1E3
1.5e-3
1e400
'\u00e9'
'\U0001F600'
'\x41'
'\101'
'\n\t'
b'\xe9'
r'a\nb'
R"a\nb"
'''a'b'''
"a'b"
'a\'b'
'\a\b\f\v\`\?'
br'\x41'
'é'
b'é'
[1,2,]
{'a':1,}
1+2*3
(1+2)*3
1-2-3
10/2/5
2*3%4
1 < 2 == true
true || false && false
!false && true
-1 + 2
1 == 1 == true
a.b.c
1// comment
has(nope.x)
re.capture('foobar', '(o+)')
re.capture('foobar', 'zz')
re.capture('foobar', 'o')
b'\xff'
[duration('1h')]
[null]
[[1],{'x':1u}]
0.1 + 0.2
1e15
1e16
123456789.0
1234567.0
1e-5
0.0001
100000.0
1000000.0
1e21
3.0e6
duration('-1.5s')
timestamp('2020-01-01T00:00:00.5Z')
timestamp('2020-01-01T00:00:00.123456Z')
{true:1}
{1.5:1}
{'b':1,'a':2}
-1
-9007199254740993
9007199254740993
1e-7
1e300
[b'ab']
''
'é"\n'
'\x00\x7f'
re.capture('foobar', 'fo+(b)ar')
re.extract('foobar', 'fo+(b)ar', 'x\\1')
re.capture('foobar', 'foobar')
[1] in {1:2}
[1] in [[1]]
{'a':1}.size()
{'size':1}.size
1 in {}
{}['a']
[][0]
{'a':{'b':[1,2]}}.a.b[1]
type(nope)
nope == nope
dyn(nope)
int(nope) == 1 || true
true ? nope : 1
-nope
!nope
nope.startsWith('a') || true
'a'.startsWith(1)
1.startsWith('a')
'abc'.matches(1)
b'a' == 'a'
'a' == b'a'
duration('1h') == 1
timestamp('2020-01-01T00:00:00Z') == duration('1h')
type(1) == 1
int == int
int == uint
type(int)
type(duration('1h')) == type(duration('2h'))
string == type('a')
bytes == type(b'a')
9007199254740993 == 9007199254740992.0
9007199254740993 < 9007199254740992.0
9007199254740993 > 9007199254740992.0
-1 < 1u
-1 == 18446744073709551615u
18446744073709551615u > 9223372036854775807
18446744073709551615u == 18446744073709551616.0
1 < 0.0/0.0
1 > 0.0/0.0
1 <= 0.0/0.0
1 <= 1.0
'a' <= 'a'
'b' > 'a'
'b' >= 'c'
null < null
{} < {}
-9223372036854775807 - 2
-9223372036854775808 / -1
-9223372036854775808 % -1
-9223372036854775808 * -1
5u * 4000000000000000000u
1.5 * 2.0
1.5 - 0.5
1.5 / 0.5
double('0x10')
double('1.5abc')
double('')
double('+1.5')
double('.5')
double('5.')
double('infinity')
double('1e400')
int('')
int('9223372036854775808')
int(9223372036854775807.0)
int(9223372036854774784.0)
int(-9223372036854775808.0)
int(0.0/0.0)
uint('')
uint(18446744073709551615.0)
uint(0.0/0.0)
uint('18446744073709551616')
uint('+1')
uint(true)
double(true)
bool('0')
bool('f')
bool('False')
bool('FALSE')
bool('')
bool(' true')
bytes(true)
duration('1h1')
duration('1h 1m')
duration('+1h')
duration('-1h30m')
duration('.5h')
duration('1.h')
duration('.h')
duration('h')
duration('-0s')
duration('0.1ns')
duration(' 1h')
duration('1m1h')
duration('1H')
duration('1e3s')
timestamp('2020-01-01T00:00:00')
timestamp('2020-1-1T00:00:00Z')
timestamp('2020-01-01T0:00:00Z')
timestamp('2020-01-01T00:00:00.Z')
timestamp('2020-01-01T00:00:00.1234567891Z')
timestamp('2020-01-01T24:00:00Z')
timestamp('2020-01-01T00:00:00+0100')
timestamp('2020-01-01T00:00:00+01')
timestamp('2020-01-01T00:00:00-23:59')
timestamp('2020-01-01T00:00:00+24:00')
timestamp(' 2020-01-01T00:00:00Z ')
timestamp('-2020-01-01T00:00:00Z')
timestamp('+2020-01-01T00:00:00Z')
timestamp('20-01-01T00:00:00Z')
timestamp(253402300800)
timestamp(-62135596801)
timestamp(-62167219201)
timestamp(9223372036854775807)
timestamp(1u)
timestamp('2020-01-01T00:00:00Z') - timestamp('2021-01-01T00:00:00Z')
timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z')
timestamp('2020-01-01T00:00:00Z') + 1
duration('100000h').getHours()
duration('-90m').getHours()
duration('-90m').getMinutes()
duration('-1500ms').getMilliseconds()
duration('-1500ms').getSeconds()
duration('1h').getFullYear()
duration('1h').getHours('UTC')
duration('87660000h') + duration('1h')
-1.0
-(1.5)
- 5
-5 % 3
5 % -3
""".strip().splitlines()

# Of a request.
ATTRIBUTES = r"""
request.path
request.headers
request.headers['x-a']
request.headers['none']
request.headers['x-two']
request.nope
request
response
connection
source
destination
upstream
xds
metadata
filter_state
upstream_filter_state
request.size
xds.nope
xds.cluster_name
xds.cluster_metadata
xds.route_name
xds.route_metadata
xds.virtual_host_name
xds.virtual_host_metadata
xds.upstream_host_metadata
xds.upstream_host_locality_region
xds.filter_chain_name
xds.filter_chain_metadata
xds.listener_name
xds.listener_metadata
xds.listener_direction
xds.node.id
xds.node.locality.region
xds.node.metadata
xds.node.metadata['nk']
xds.node.metadata.nk
xds.node.metadata.num
type(xds.node.metadata.num) == double
metadata.filter_metadata
metadata.filter_metadata['ns']
metadata.filter_metadata.ns
metadata.filter_metadata.ns.s
metadata.filter_metadata['ns']['n']
metadata.filter_metadata.ns.i
metadata.filter_metadata.ns.i + 1.0
metadata.filter_metadata.ns.b
metadata.filter_metadata.ns.l
metadata.filter_metadata.ns.l[0]
metadata.filter_metadata.ns.l[1]
metadata.filter_metadata.ns.l[2]
metadata.filter_metadata.ns.l[3]
metadata.filter_metadata.ns.nul
metadata.filter_metadata.ns.o
metadata.filter_metadata.ns.o.x
metadata.filter_metadata.ns.o.x.y
metadata.filter_metadata.ns.none
metadata.filter_metadata.none
metadata['filter_metadata']['ns']['s']
has(metadata.filter_metadata.ns)
has(metadata.filter_metadata.none)
has(metadata.filter_metadata.ns.none)
has(metadata.typed_filter_metadata)
has(metadata.nope)
size(metadata.filter_metadata)
metadata.typed_filter_metadata
filter_state['my.key']
filter_state['none']
type(filter_state['my.key']) == bytes
type(filter_state['my.key']) == string
has(filter_state.none)
'my.key' in filter_state
size(filter_state)
upstream_filter_state['x']
has(request.path)
has(request.nope)
has(request.headers.none)
'x-a' in request.headers
'X-A' in request.headers
request.headers['X-A']
':path' in request.headers
request.headers[':method']
request.headers.host
request.headers[':authority']
request.headers['host']
size(request)
request['path']
request['path'] == request.path
request.url_path
request.host
request.scheme
request.method
request.referer
request.useragent
request.protocol
request.query
request.headers['x-empty']
response.code
type(response.code) == int
response.code_details
response.flags
type(response.flags) == int
response.grpc_status
response.headers['server']
response.headers['content-type']
response.trailers
response.trailers['x']
size(response.trailers)
response.size
type(connection.id) == uint
connection.mtls
connection.requested_server_name
connection.tls_version
connection.subject_local_certificate
connection.subject_peer_certificate
connection.dns_san_local_certificate
connection.dns_san_peer_certificate
connection.uri_san_local_certificate
connection.uri_san_peer_certificate
connection.sha256_peer_certificate_digest
connection.transport_failure_reason
connection.termination_details
type(source.port) == int
destination.address
destination.port
upstream.address
upstream.port
upstream.tls_version
upstream.subject_local_certificate
upstream.subject_peer_certificate
upstream.transport_failure_reason
upstream.request_attempt_count
upstream.locality
type(request.size) == int
has(response.code)
has(upstream.tls_version)
has(connection.tls_version)
has(response.grpc_status)
request . path
request.headers["x-a"] == "1"
request.headers['x-a'] == 1
int(request.headers['x-num']) + 1
request.headers['none'] == 'a' || true
request.headers['none'] == 'a' ? 1 : 2
has(request.headers.none) ? 1 : 2
!has(request.headers.none)
has(request.path.x)
has(request.headers.x)
request.path.x
request.headers[1]
1 in request.headers
request.path[0]
.request.path
connection.peer_certificate
upstream.num_endpoints
xds.upstream_host_locality_metadata
request == request
request.headers == request.headers
metadata == metadata
metadata == xds.route_metadata
response.headers == request.headers
request == response
'path' in request
'nope' in request
1 in request
type(metadata)
metadata.filter_metadata == {'a':1}
type(metadata.filter_metadata.ns) == map
xds.node.cluster
has(xds.node.id)
has(xds.node.locality.sub_zone)
xds.node.locality.sub_zone
xds.node.nope
has(xds.node.nope)
size(xds.node)
xds.node['id']
upstream.locality.region
has(upstream.locality.region)
{'a':1}[request.headers['none']]
[1, request.headers['none']]
{'a': request.headers['none']}
size([request.headers['none']])
has({'a':request.headers['none']}.a)
1 in [request.headers['none'], 1]
request.headers.none == null
'aaa'.matches(request.headers['x-a'])
'a1b'.matches(request.headers['x-a'])
""".strip().splitlines()

# Values that no two runs share.
CHANGING = r"""
request.time
request.duration
request.total_size
size(request.headers)
request.id
response.total_size
response.backend_latency
connection.id
source.address
source.port
upstream.local_address
upstream.cx_pool_ready_duration
request.headers_bytes
response.headers_bytes
upstream.connection_pool_ready_duration
""".strip().splitlines()
