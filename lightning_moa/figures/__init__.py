"""What experiment scripts share: panels, modes of response, judging, gains, computed optima."""
