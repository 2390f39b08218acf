"""turbosock under the libraries that a program uses already; each module needs the library it is named for.

`requests.TurbosockAdapter` is mounted on a Session; `httpx.TurbosockTransport` and `httpx2.TurbosockTransport` are
given to a Client. What these libraries promise stays as it is; what carries the requests is a turbosock.Client.
"""
