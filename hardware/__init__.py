"""Boards and field devices as data, their reader, and the simulators made from them."""
