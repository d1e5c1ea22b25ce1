"""What people may ask of those who hold their data: a copy, and erasure with proof. Also how long anything is kept."""
