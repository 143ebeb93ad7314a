"""What several applications answer with."""

BIG = [{"id": number, "name": f"name {number}", "tags": ["a", "b", "c"], "price": number / 4} for number in range(150)]
