"""Drills: the newest backup set restored into a scratch SoftHSM, as a test, with signed evidence of how it went."""
