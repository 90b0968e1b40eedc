"""Where rows come from. Only here are vendors' SDKs imported; `open.py` turns a name into a source.

Rules for a source:

- `fetch` yields pages that fit in memory, each with columns named as the dataset's; types are the gate's business
  (`thermocline.model.conform`), meaning is the source's: which zone a naive time is in, what a scaled price is worth.
- Paging, rate limits and retries happen inside the iterator, by `paging.py`, `calls.py` and `limits.py`: say how to
  make one request and how to read its page, and pages are kept, the limit is shared, and what failed is asked again.
- A record that can't be made a row goes to `Fetched.unreadable` with its reason; it never stops the good ones.
- Nothing is read, opened or connected before the first page is asked for. No secret in `origin`, a reason or an error.
- A daily bar carries its session's date at 00:00 UTC, whatever the vendor stamps it with.
"""
