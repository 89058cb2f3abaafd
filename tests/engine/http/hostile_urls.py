# ruff: noqa: RUF001
"""URLs that try to reach this machine, its network or its cloud from a server that should call the public internet
only. `{port}` stands for a port where something listens on 127.0.0.1 and ::1.
"""

_HOSTS_OF_LOOPBACK = [
    # Every spelling of 127.0.0.1 that inet_aton knows: parts, octal, hexadecimal, one number.
    *("127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "127.0.0.01", "0177.0.0.1", "0177.0.0.01", "0177.1"),
    *("0177.0.1", "00177.0.0.1", "000000177.0.0.1", "0x7f.0.0.1", "0x7F.0.0.1", "0X7f.0.0.1", "0x7f.1", "0x7f.0.1"),
    *("0x7f.0x0.0x0.0x1", "0x0000007f.0.0.1", "127.0x0.0.1", "127.0x1", "127.0.0x1", "0x7f000001", "0X7F000001"),
    *("2130706433", "017700000001", "0017700000001", "00000017700000001", "0x000000007f000001", "127.01", "127.00.1"),
    *("127.0.0.0x1", "0x7f.0.0.0x1", "0177.0x0.0.1", "0x7f.0000.0.1", "127.0.0000.1", "127.0.0.00001"),
    *("127.0.0.1.", "127.1.", "2130706433.", "0x7f000001.", "017700000001."),
    # The rest of the loopback network.
    *("127.0.0.2", "127.0.0.53", "127.255.255.255", "127.127.127.127", "127.255", "127.65535", "127.16777215"),
    *("2147483647", "0x7fffffff", "017777777777"),
    # Unspecified addresses, which connect to this machine.
    *("0", "0.0", "0.0.0", "0.0.0.0", "00", "0x0", "0x00.0", "0.0.0.0.", "00000000", "0.0.0.1", "0.1.2.3", "0x0.0x0"),
    # Names of this machine.
    *("localhost", "LOCALHOST", "LocalHost", "localhost.", "a.localhost", "a.b.localhost.", "127.0.0.1.localhost"),
    # IPv6.
    *("[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0.0.0.1]", "[0::1]", "[::0:1]"),
    *("[::]", "[0:0:0:0:0:0:0:0]", "[::0.0.0.0]", "[::ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[0:0:0:0:0:ffff:7f00:0001]", "[::ffff:127.0.0.2]", "[::ffff:0.0.0.0]", "[::ffff:0:0]", "[::127.0.0.1]"),
    *("[::7f00:1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]"),
    *("[64:ff9b:1:7f00:0:100::]", "[2002:7f00:1::]", "[2002:7f00:0001::1]", "[2001:0:7f00:1::]"),
    *("[2001:0:0808:0808::80ff:fffe]", "[2600::5efe:7f00:1]", "[2600::200:5efe:127.0.0.1]", "[fe80::1]"),
]

_HOSTS_OF_NETWORKS = [
    # Private, shared, link-local, reserved networks.
    *(
        "10.0.0.1",
        "10.1",
        "0xa.1",
        "012.1",
        "167772161",
        "0x0a000001",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.254",
    ),
    *("0xac.0x10.0.1", "2886729729", "192.168.0.1", "192.168.1", "0300.0250.0.1", "0xc0a80001", "3232235521"),
    *("100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.0.9", "192.0.2.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.7", "203.0.113.7", "192.88.99.1", "240.0.0.1", "255.255.255.255", "0xffffffff", "4294967295"),
    *("224.0.0.1", "239.255.255.250", "233.252.0.1", "169.254.1.1", "169.254.257"),
    *("[fc00::1]", "[fd12:3456:789a::1]", "[fec0::1]", "[ff02::1]", "[ff0e::1]", "[100::1]", "[100:0:0:1::1]"),
    *("[2001:db8::1]", "[3fff::1]", "[3fff:fff::1]", "[5f00::1]", "[2001:2::1]", "[2001:10::1]", "[2001:20::1]"),
    *("[4000::1]", "[8000::1]", "[1::1]", "[::ffff:10.0.0.1]", "[::ffff:192.168.0.1]", "[::10.0.0.1]"),
    *("[64:ff9b::10.0.0.1]", "[64:ff9b:1::1]", "[2002:a00:1::]", "[2002:c0a8:1::1]", "[2001:0:a00:1::f7f7:f7f7]"),
]

_HOSTS_OF_CLOUDS = [
    *("169.254.169.254", "169.254.43518", "169.16689662", "2852039166", "0xa9fea9fe", "025177524776"),
    *("0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "169.254.169.254.", "0xA9.254.0251.254"),
    *("[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]"),
    *("[fd00:ec2::254]", "[fd00:ec2:0:0:0:0:0:254]", "[fd20:ce::254]", "[fe80::a9fe:a9fe]", "[::169.254.169.254]"),
    *("169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "100.100.100.200", "0x646464c8", "1684301000"),
    *("168.63.129.16", "0xa83f8110", "192.0.0.192", "169.254.42.42", "[fd00:42::42]", "[fd00:a9fe:a9fe::1]"),
    *("metadata.google.internal", "METADATA.google.internal.", "metadata", "metadata.goog", "instance-data"),
    *("x.metadata.google.internal", "metadata.tencentyun.com", "api.metadata.cloud.ibm.com"),
]

_WHOLE = [
    # Credentials, fragments and backslashes that make one reader see another host than the next one.
    *("http://public.test@127.0.0.1:{port}/", "http://127.0.0.1:{port}@public.test/", "http://a:b@127.0.0.1:{port}/"),
    *("http://public.test:80@127.0.0.1:{port}/", "http://public.test#@127.0.0.1:{port}/", "http://@127.0.0.1:{port}/"),
    *("http://127.0.0.1:{port}\\@public.test/", "http://public.test\\@127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}/"),
    *("http://public.test%40127.0.0.1:{port}/", "http://public.test%2f@127.0.0.1:{port}/", "http:127.0.0.1:{port}/"),
    *("http:///127.0.0.1:{port}/", "http:/127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}/"),
    *("http://127.0.0.1:{port}:80/", "http://127.0.0.1:0{port}/", "HTTP://127.0.0.1:{port}/", "hTTp://[::1]:{port}/"),
    *("http://public.test;@127.0.0.1:{port}/", "http://127.0.0.1;public.test:{port}/", "http://127.0.0.1,a:{port}/"),
    # Percent-encoding, control characters, spaces.
    *("http://%31%32%37.0.0.1:{port}/", "http://127%2e0%2e0%2e1:{port}/", "http://loc%61lhost:{port}/"),
    *("http://127.0.0.1%00.public.test:{port}/", "http://127.0.0.1%0d%0a:{port}/", "http://%6c%6f%63al%68ost:{port}/"),
    *("http://127.0.0.1\t:{port}/", "http://127.0.0.1 :{port}/", " http://127.0.0.1:{port}/", "http://\t127.0.0.1/"),
    *("http://127.0.0.1:{port}\r\nHost: x/", "http://127.0.0.1\x00:{port}/", "http://\u00ad127.0.0.1:{port}/"),
    # Digits, dots and letters of other scripts.
    *(
        "http://１２７.０.０.１:{port}/",
        "http://127。0。0。1:{port}/",
        "http://127．0．0．1:{port}/",
        "http://127｡1:{port}/",
    ),
    *("http://①②⑦.⓪.⓪.①:{port}/", "http://¹²⁷.0.0.1:{port}/", "http://١٢٧.٠.٠.١:{port}/", "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏:{port}/"),
    *(
        "http://ｌｏｃａｌｈｏｓｔ:{port}/",
        "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
        "http://loc\u200balhost:{port}/",
        "http://ℓocalhost:{port}/",
    ),
    *("http://①⑥⑨。②⑤④。①⑥⑨。②⑤④:{port}/", "http://２１３０７０６４３３:{port}/", "http://0ｘ7f。1:{port}/"),
    *("http://⑯⑨｡254｡⑯⑨｡254:{port}/", "http://⁰ₓ7f.1:{port}/", "http://０:{port}/", "http://１２７．１。:{port}/"),
    *(
        "http://ｍetadata。google。internal:{port}/",
        "http://ｍｅｔａｄａｔａ.goog:{port}/",
        "http://127.0.0.1。:{port}/",
    ),
    *("http://1\u00ad2\u00ad7.0.0.1:{port}/", "http://127\u200b.0.0.1:{port}/", "http://127.0.0.\u20601:{port}/"),
    *("http://127.0.0.1／@public.test:{port}/", "http://public.test＠127.0.0.1:{port}/", "http://ａ.localhoſt:{port}/"),
    *("http://［::1］:{port}/", "http://[::１]:{port}/", "http://127․0․0․1:{port}/", "http://127.0.0.1：{port}/"),
    # Zones, broken brackets, other schemes.
    *("http://[::1%25lo]:{port}/", "http://[::1%lo]:{port}/", "http://[fe80::1%25eth0]:{port}/", "http://[::1:{port}/"),
    *("http://::1:{port}/", "http://[::1]x:{port}/", "http://[127.0.0.1]:{port}/", "http://[::ffff:127.1]:{port}/"),
    *("http://[v1.127.0.0.1]:{port}/", "http://[[::1]]:{port}/", "http://[0x7f000001]:{port}/", "http://[]:{port}/"),
    *("file:///etc/passwd", "gopher://127.0.0.1:{port}/_x", "dict://127.0.0.1:{port}/", "ftp://127.0.0.1:{port}/"),
    *("ldap://127.0.0.1:{port}/", "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "data:,x"),
    *("ws://127.0.0.1:{port}/", "tftp://127.0.0.1:{port}/x", "smb://127.0.0.1:{port}/x", "scp://127.0.0.1:{port}/x"),
    # Names that answer with refused addresses (in the test, every name does).
    *("http://127.0.0.1.nip.io:{port}/", "http://localtest.me:{port}/", "http://rebind.public.test:{port}/"),
    *("http://2130706433.public.test:{port}/", "http://public.test.:{port}/", "http://0x7f.0x.0.1.test:{port}/"),
    *(
        "http://256.256.256.256:{port}/",
        "http://127.0.0.1.1:{port}/",
        "http://08.0.0.1:{port}/",
        "http://4294967296:{port}/",
    ),
    *("http://0x100000000:{port}/", "http://127.0.0.256:{port}/", "http://1.2.3.4.5:{port}/", "http://0x7g.1:{port}/"),
]

HOSTILE_URLS = [
    *(f"http://{host}:{{port}}/" for host in (*_HOSTS_OF_LOOPBACK, *_HOSTS_OF_NETWORKS, *_HOSTS_OF_CLOUDS)),
    *(f"https://{host}:{{port}}/" for host in ("127.1", "[::ffff:7f00:1]", "localhost", "0xa9fea9fe", "[::1]")),
    *_WHOLE,
]

REBINDING = [
    ["127.0.0.1"],
    ["::1"],
    ["127.0.0.1", "::1"],
    ["::1", "127.0.0.1", "127.0.0.2"],
    ["0.0.0.0"],
    ["::"],
    ["::ffff:127.0.0.1"],
    ["::ffff:7f00:1", "127.0.0.1"],
    ["169.254.169.254"],
    ["::ffff:169.254.169.254"],
    ["fd00:ec2::254", "169.254.169.254"],
    ["100.100.100.200"],
    ["168.63.129.16"],
    ["10.0.0.1", "172.16.0.1", "192.168.0.1"],
    ["64:ff9b::7f00:1"],
    ["64:ff9b::a00:1", "2002:a00:1::"],
    ["2001:0:7f00:1::", "64:ff9b:1::7f00:1"],
    ["fe80::1", "fc00::1", "ff02::1"],
    ["224.0.0.1", "255.255.255.255"],
    ["::127.0.0.1", "127.0.0.1"],
]
"""Addresses that a name has when it is called, though it looked harmless when the task was registered."""
