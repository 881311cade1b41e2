"""What a run has found: leaderboard, verdict, histories, status. Loads neither torch nor Ray."""
