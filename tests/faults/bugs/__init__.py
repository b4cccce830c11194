"""Operators with one thing broken each, to see that the oracle notices. `entry.run` imports one of these before it starts.

They break the operator at its seams (the client, the comparison of lists, the order of actions), so that they outlive changes behind them.
"""
