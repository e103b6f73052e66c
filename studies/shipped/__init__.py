"""Studies that are shipped: what each needs of its user, and a small rehearsal of each.

A preset is a study's file like any other; data and checkpoints in it are named as they are published, and are looked
for where the user says.
"""
