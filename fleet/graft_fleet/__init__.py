"""The server part of a fleet of graft boxes that learns together: a Flower app."""
