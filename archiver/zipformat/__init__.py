"""The ZIP format: values in, bytes out; no I/O, and nothing but the standard library.

entry.py    what is known of an entry before its bytes are
names.py    paths that are safe to extract everywhere, and unique
records.py  the bytes of each record, one function per record
layout.py   entries -> where every byte of the archive is
crc.py      CRC32s of concatenations
"""
