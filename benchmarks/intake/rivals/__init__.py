"""What else brings readings from Kafka to Postgres, each written as its own documentation says.

A rival runs in a process of its own, reads a topic of the same messages, and writes to the same
server. Its clock starts once a fifth of its rows can be seen, so that its start and its warm-up
count for nothing, and stops when all can be seen; then they are counted.
"""
