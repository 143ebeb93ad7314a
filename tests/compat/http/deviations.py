"""Where we differ from a corpus on purpose, and why: patterns of `corpus/case`."""

_HTTP_09 = "RFC 9112 §2.5: HTTP/0.9 is another protocol; it is answered 505"
_CODINGS = "RFC 9112 §6.1: a transfer coding that is not implemented is answered 501; nothing here decompresses"
_CONNECT = "RFC 9110 §9.3.6: CONNECT is for proxies; an origin server that has no tunnels answers 501"
_FOLDS = "RFC 9112 §5.2: a server must refuse a folded line, or replace the fold; refusing cannot be misread"
_FRAGMENTS = "RFC 9112 §3.2: a request target has no fragment"
_LINE_BYTES = "A limit is on a line without its two bytes of line end; gunicorn counts them"
_METHODS = "RFC 9110 §9.1: a method that is not known is answered 501"
_UNDERSCORES = "Names with an underscore are not shown to applications (gunicorn's header_map=drop, its default)"
_UPGRADES = "RFC 9110 §7.8: an upgrade may be ignored; what follows is then HTTP/1.1 again, and here it is none"
_USERS = "RFC 9110 §4.2.4: user information in an http URL is an error; it is used to hide where a link leads"

DEVIATIONS = {
    "gunicorn/invalid/006": "RFC 9112 §3: request lines of 8000 bytes should be taken; gunicorn takes 4094",
    "gunicorn/invalid/008": _LINE_BYTES,
    "gunicorn/invalid/012": _LINE_BYTES,
    "gunicorn/invalid/017": _LINE_BYTES,
    "gunicorn/invalid/limit_header_default_01": "0 means that only the limit of the whole head counts",
    "gunicorn/invalid/019": "What proxies say is read in proxy.py, not by the parser",
    "gunicorn/invalid/040": _UNDERSCORES,
    "gunicorn/invalid/chunked_07": _UNDERSCORES,
    "gunicorn/invalid/rfc9112_leading_crlf_02": "RFC 9112 §2.2: empty lines before a request should be ignored",
    "gunicorn/valid/005": _FRAGMENTS,
    "gunicorn/valid/013": "llhttp refuses blanks around ; in chunk extensions; RFC 9110 §5.6.3 forbids to send them",
    "gunicorn/valid/025*": _CODINGS,
    "gunicorn/valid/029": _CODINGS,
    "gunicorn/valid/030": _CODINGS,
    "gunicorn/valid/rfc9112_smuggle_*": _CODINGS,
    "gunicorn/valid/pp_*": "The PROXY protocol is no HTTP: it is taken off before, in proxy.py",
    "gunicorn/valid/028": "RFC 9112 §5.1: a blank before the colon must be refused",
    "gunicorn/valid/031*": _METHODS,
    "gunicorn/valid/099": "RFC 9112 §8: content shorter than its Content-Length is no complete request",
    "gunicorn/valid/compat_obs_fold*": _FOLDS,
    "gunicorn/valid/rfc9112_target_absolute_userinfo_01": _USERS,
    "gunicorn/valid/rfc9112_target_authority_*": _CONNECT,
    "llhttp/connection/*-No-restart-when-keep-alive-is-off-(1.0)": "RFC 9112 §9.6: it is not read, so not refused",
    "llhttp/connection/*-Multiple-tokens-with-folding-and-LWS": _UPGRADES,
    "llhttp/connection/*-Emitting-part-of-body-and-pausing": _UPGRADES,
    "llhttp/connection/*-Upgrade-*-request": _UPGRADES,
    "llhttp/method/*-CONNECT-*": _CONNECT,
    "llhttp/uri/*-Underscore-in-hostname": _CONNECT,
    "llhttp/method/*-M-SEARCH-request": "RFC 9112 §3.2.4: asterisk-form is for OPTIONS",
    "llhttp/method/*-SOURCE-request*": _METHODS,
    "llhttp/method/*-ANNOUNCE-request-with-RTSP": _METHODS,
    "llhttp/method/*-OPTIONS-request-with-RTSP": "RFC 9112 §2.3: a server of HTTP is not one of RTSP",
    "llhttp/method/*-PRI-request-HTTP2": _METHODS,
    "llhttp/sample/*-No-HTTP-version": _HTTP_09,
    "llhttp/transfer-encoding/*-POST-with-`chunked`-as-last-transfer-encoding*": _FRAGMENTS,
    "llhttp/uri/*-Fragment-in-URI": _FRAGMENTS,
    "llhttp/uri/*-`host:port`-and-basic-auth": _USERS,
    "h11/*-test_allow_some_garbage_in_cookies": "RFC 9110 §5.5: control characters in a value are dangerous",
    "h11/*-test_readers_unusual": _FOLDS,
    "waitress/test_parse_header_multiple_values_header_folded*": _FOLDS,
    "waitress/test_parse_header_no_cr_in_headerplus-0": "It is of a line without its end, which is to come",
}  # fmt: skip
