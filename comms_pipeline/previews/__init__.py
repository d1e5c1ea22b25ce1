"""Looking at messages before anybody gets them: templates checked, rendered for one reader, photographed."""
